// Reading a symbol with the camera: what the video shows is read by the browser
// where it can, else by the server, which keeps nothing of it.

const byID = (id) => document.getElementById(id);
const video = byID("camera-video");

// jpeg encodes a picture, or what a video shows, as JPEG of at most the given
// scale. Nothing of the camera or its place is left in it.
export function jpeg(source, width, height, scale) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * Math.min(1, scale)));
  canvas.height = Math.max(1, Math.round(height * Math.min(1, scale)));
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.8));
}

// read returns the text of a symbol that the video shows, or "".
async function read(frames) {
  if (!video.videoWidth) return "";
  if ("BarcodeDetector" in window) {
    const found = await new BarcodeDetector({ formats: ["qr_code"] }).detect(video);
    return found[0]?.rawValue || "";
  }
  const frame = await jpeg(video, video.videoWidth, video.videoHeight, 800 / video.videoWidth);
  const answer = await fetch(frames, { method: "POST", headers: { "Content-Type": "image/jpeg" }, body: frame });
  return answer.ok ? (await answer.json()).text || "" : "";
}

// offerCamera shows the page's camera card where there is a camera. Frames go to
// the address given. The page is told when looking begins and ends, of the text
// that ends it, of a camera that can not be had, and of a frame that could not be
// read, after which the next is tried.
export function offerCamera(frames, { began, ended, found, denied, failed }) {
  if (!navigator.mediaDevices?.getUserMedia || !video) return;
  let stream, timer;

  function show(on) {
    byID("camera").hidden = byID("camera-stop").hidden = !on;
    byID("camera-start").hidden = on;
  }

  function stop() {
    clearTimeout(timer);
    stream?.getTracks().forEach((t) => t.stop());
    stream = undefined;
    show(false);
    ended?.();
  }

  async function look() {
    if (!stream) return;
    let text = "";
    try { text = await read(frames); } catch (error) { failed(error); }
    if (text) {
      stop();
      found(text);
      return;
    }
    timer = setTimeout(look, 350);
  }

  byID("camera-card").hidden = false;
  byID("camera-stop").addEventListener("click", stop);
  byID("camera-start").addEventListener("click", async () => {
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
    } catch (error) { denied(error); return; }
    show(true);
    began?.();
    video.srcObject = stream;
    await video.play();
    look();
  });
}
