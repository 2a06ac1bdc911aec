// Where pictures come from: the camera, a picture, or a video. Each has element, width, height, mirrored, moving, stop().

import { Plain } from "../../api.js";
import { h } from "../../dom.js";

/** Why there is no picture to show: title, detail and, where typing helps, what to type. */
export class NoPicture extends Plain {
  constructor(name, title, detail, ways = []) { super(title, detail); Object.assign(this, { name, ways }); }
}

const here = () => location.port || (location.protocol === "https:" ? "443" : "80");

/** Why this address may not use the camera, and the three ways out; null where it may. */
export function insecure() {
  if (window.isSecureContext && navigator.mediaDevices?.getUserMedia) return null;
  const port = here(), path = `#/face`;
  if (window.isSecureContext) return new NoPicture("NoCamera", "This browser offers no camera to pages", "Its settings or a policy switch cameras off. A picture or a video can be shown here all the same.");
  return new NoPicture("Insecure", "At this address the browser gives no page a camera",
    `Browsers allow cameras only over https and on the machine itself, and ${location.origin} is neither. A picture or a video can be shown here all the same.`, [
      ["On the machine that runs the server, open", `http://localhost:${port}/${path}`],
      ["From another machine, open a tunnel, then that same address", `ssh -L ${port}:localhost:${port} ${location.hostname}`],
      ["Or serve over https", "sensorium serve RUN --host 0.0.0.0 --token-file FILE --tls-cert CERT.pem --tls-key KEY.pem"],
    ]);
}

const WHY = {
  NotAllowedError: ["Denied", "The camera was not allowed", "Allow it in the browser's site settings, at the left of the address, then start it again. Where the browser never asked, the operating system's privacy settings refuse cameras to it."],
  NotFoundError: ["NoCamera", "No camera was found", "Connect one and start again; or show a picture or a video."],
  NotReadableError: ["Busy", "The camera is in use", "Another program or tab holds it, such as a call. Close that one, then start again."],
  OverconstrainedError: ["NoCamera", "This camera is no longer there", "Choose another one, then start again."],
  AbortError: ["Busy", "The camera did not start", "The operating system stopped it. Start it again; if that does not help, connect it anew."],
};

/** The camera. on: ended() when it is disconnected, muted(now) when the system takes its picture away or gives it back. */
export async function camera(id, on) {
  const no = insecure();
  if (no) throw no;
  let media;
  const video = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 }, ...(id ? { deviceId: { exact: id } } : { facingMode: "user" }) };
  try {
    media = await navigator.mediaDevices.getUserMedia({ video });
  } catch (error) {
    throw new NoPicture(...(WHY[error.name] ?? ["NoCamera", "The camera could not be opened", "Check that it is connected and that the browser may use it; or choose an image or a video."]));
  }
  const element = h("video", { playsinline: true, muted: true, "aria-hidden": "true" }), [track] = media.getVideoTracks();
  element.muted = true;
  element.srcObject = media;
  const stop = () => { media.getTracks().forEach((one) => one.stop()); element.srcObject = null; };
  try {
    await begun(element, 10000);
  } catch {
    stop();
    throw new NoPicture("Busy", "The camera sends no picture", "It was opened and stays dark: another program may hold it, or its cover is shut.");
  }
  track.addEventListener("ended", on.ended);
  track.addEventListener("mute", () => on.muted(true));
  track.addEventListener("unmute", () => on.muted(false));
  const settings = track.getSettings?.() ?? {};
  return { kind: "camera", element, ...sized(element), mirrored: settings.facingMode !== "environment", moving: true, id: settings.deviceId, title: track.label || "camera", stop };
}

/** The cameras there are, as {id, label}; with labels only once one was allowed. */
export async function cameras() {
  const all = await navigator.mediaDevices?.enumerateDevices?.().catch(() => []) ?? [];
  return all.filter((one) => one.kind === "videoinput" && one.deviceId).map((one, i) => ({ id: one.deviceId, label: one.label || `Camera ${i + 1}` }));
}

/** Resolves when a video has its first picture. */
function begun(element, patience) {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error("no picture")), patience);
    const ready = () => { if (element.videoWidth && element.readyState >= 2) { clearTimeout(timer); done(); } };
    for (const name of ["loadeddata", "playing", "resize"]) element.addEventListener(name, ready);
    element.addEventListener("error", () => { clearTimeout(timer); fail(element.error ?? new Error("no picture")); });
    element.play().then(ready, ready);
  });
}

const sized = (element) => ({ get width() { return element.videoWidth; }, get height() { return element.videoHeight; } });

/** A picture file, turned as its camera says. */
export async function picture(file) {
  let bitmap;
  try { bitmap = await createImageBitmap(file); } catch {
    throw new NoPicture("Unreadable", "This image cannot be read", `${file.name || "The file"} is damaged, too large, or of a kind that this browser does not know. JPEG, PNG, WebP, GIF and AVIF work.`);
  }
  return { kind: "picture", element: bitmap, width: bitmap.width, height: bitmap.height, mirrored: false, moving: false, title: file.name || "pasted picture", stop() { bitmap.close(); } };
}

/** A video file, which plays in a loop without sound. */
export async function film(file) {
  const address = URL.createObjectURL(file), element = h("video", { playsinline: true, loop: true, "aria-hidden": "true" });
  element.muted = true;
  element.src = address;
  const stop = () => { element.pause(); element.removeAttribute("src"); element.load(); URL.revokeObjectURL(address); };
  try { await begun(element, 8000); } catch {
    stop();
    throw new NoPicture("Unreadable", "This video has no image that can be shown", `${file.name || "The file"} is damaged, has no frames, or is coded in a way that this browser does not know. MP4 (H.264) and WebM work.`);
  }
  return { kind: "video", element, ...sized(element), mirrored: false, moving: true, title: file.name || "video", stop };
}

/** What a dropped, pasted or chosen file is. Raises NoPicture for what is neither picture nor video. */
export function open(file) {
  if (file.type.startsWith("video/") || /\.(mp4|m4v|mov|webm|mkv|avi)$/i.test(file.name)) return film(file);
  if (file.type.startsWith("image/") || /\.(jpe?g|png|webp|gif|avif|bmp)$/i.test(file.name)) return picture(file);
  throw new NoPicture("Unreadable", "This is no image and no video", `${file.name || "The file"} is ${file.type || "of an unknown kind"}. Show a picture (JPEG, PNG, WebP) or a video (MP4, WebM).`);
}

/** Calls run() at each new picture of a video, else as often as the screen is drawn; returns how to end this. */
export function each(element, run) {
  let over = false, handle = 0;
  const by = element.requestVideoFrameCallback ? ["requestVideoFrameCallback", "cancelVideoFrameCallback", element] : ["requestAnimationFrame", "cancelAnimationFrame", window];
  const turn = () => { if (over) return; run(); handle = by[2][by[0]](turn); };
  handle = by[2][by[0]](turn);
  return () => { over = true; by[2][by[1]](handle); };
}
