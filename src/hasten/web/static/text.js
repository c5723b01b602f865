// Numbers as people read them. null is "not known" and shown as a dash.

export const dash = "–";

export const percent = (value, digits = 0) => (value == null ? dash : `${(100 * value).toFixed(digits)} %`);
export const share = (value) => (value == null ? dash : value.toFixed(3));
export const ms = (value) => (value == null ? dash : value < 9.95 ? value.toFixed(1) : value.toFixed(0));
export const mbps = (value) => (value == null ? dash : value >= 99.5 ? value.toFixed(0) : value >= 9.95 ? value.toFixed(1) : value.toFixed(2));
export const count = (value) => (value == null ? dash : value.toLocaleString("en"));

export function clock(at_ms) {
  const seconds = Math.max(at_ms, 0) / 1000;
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(1).padStart(4, "0")}`;
}

export const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** A new element with classes and children (texts or elements). */
export function element(tag, classes = "", ...children) {
  const made = document.createElement(tag);
  if (classes) made.className = classes;
  made.append(...children);
  return made;
}

/** Set a text only where it differs: most of the page does not change from one update to the next. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A scheduler's name; of a policy's file the name without its folder. */
export const shortName = (name) => name.replace(/^(policy|dqn):.*[/\\]/, "$1:");
