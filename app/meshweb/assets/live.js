// The page is whole without this; with it the part that changes is replaced
// whenever the server sends it anew. The server has escaped what is in it.
const scene = document.getElementById("scene");
const state = document.getElementById("state");
const source = new EventSource(scene.dataset.live);

// held: somebody selects or clicks in the scene; do not pull it away.
let pressed = false;
addEventListener("pointerdown", () => { pressed = true; });
addEventListener("pointerup", () => setTimeout(() => { pressed = false; })); // once the click is done
addEventListener("pointercancel", () => { pressed = false; });
const held = () => pressed || !getSelection().isCollapsed;

source.addEventListener("scene", (event) => {
  state.textContent = "live";
  state.className = "live";
  if (held()) return;
  const scrolled = [...scene.querySelectorAll(".wide")].map((one) => one.scrollLeft);
  const focus = document.activeElement?.closest?.("#scene a")?.getAttribute("href");
  scene.innerHTML = event.data;
  scene.querySelectorAll(".wide").forEach((one, i) => { one.scrollLeft = scrolled[i] ?? 0; });
  if (focus) scene.querySelector(`a[href="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
});

source.addEventListener("error", () => {
  state.textContent = "the server does not answer; this is what it said last";
  state.className = "stale";
});
