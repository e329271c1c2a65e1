// digestOf returns the SHA-256 of a file in hexadecimal. The browser reads the
// file whole; what it can not hold in memory is refused by an error.
export async function digestOf(file) {
  const sum = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return Array.from(new Uint8Array(sum), (b) => b.toString(16).padStart(2, "0")).join("");
}
