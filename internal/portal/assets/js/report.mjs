// Reporting: a photograph is made smaller before it is sent, and nothing of the
// camera or its place leaves the device. Without scripts the server does so.

import { jpeg } from "./camera.mjs";

const most = 1600; // pixels of a side, as the server keeps it

const photo = document.getElementById("photo");
photo?.addEventListener("change", async () => {
  const file = photo.files[0];
  if (!file) return;
  let blob;
  try {
    const picture = await createImageBitmap(file);
    blob = await jpeg(picture, picture.width, picture.height, most / Math.max(picture.width, picture.height));
  } catch {
    return; // the server says what is wrong with it
  }
  const list = new DataTransfer();
  list.items.add(new File([blob], "photo.jpg", { type: "image/jpeg" }));
  photo.files = list.files;
  photo.dataset.ready = "1";
});

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}
