// Elements of the page, and how times and durations are written. Text only ever becomes text nodes.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child != null));
  return node;
}

export const h = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);

export const svg = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export function when(text) {
  return text ? clock.format(new Date(text)) : "";
}

// Nanoseconds since the epoch do not fit into a Date: only milliseconds are shown.
export const millis = (text) => Date.parse(text.replace(/(\.\d{3})\d+/, "$1"));

export function length(seconds) {
  if (seconds == null || Number.isNaN(seconds)) return "";
  const whole = Math.round(seconds);
  if (whole < 60) return `${Number(seconds).toFixed(1)} s`;
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return parts[0] ? parts.map((part, at) => (at ? String(part).padStart(2, "0") : part)).join(":")
    : `${parts[1]}:${String(parts[2]).padStart(2, "0")}`;
}

export const seconds = (duration) => (duration ? Number.parseFloat(duration) : null);

export function offset(ms) {
  const sign = ms < 0 ? "−" : "";
  const all = Math.abs(ms) / 1000;
  const minutes = Math.floor(all / 60);
  return `${sign}${minutes}:${(all - minutes * 60).toFixed(3).padStart(6, "0")}`;
}
