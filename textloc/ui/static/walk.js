// Looking at layers without asking the server: their pictures are here. Moving over a bar or a small
// picture shows it, leaving goes back to the picked one; Play walks the layers one by one and stays
// at the pick to hold at. props.value: {of, looks: {pick: [picture, scores]}, order: [picks], hold} or
// null; `of` says which result, pair and seed the looks are of, and what the strip shows may already
// be another. The event `pick` is the pick that Play ends at.
const play = element.querySelector("[data-play]");
const full = element.querySelector("[data-full]");
const said = element.querySelector("[role=status]");
const current = () => {
  const of = document.querySelector("#strip [data-of]")?.dataset.of;
  return of && of === props.value?.of ? props.value : { looks: {}, order: [], hold: "" };
};
const thumbs = () => [...document.querySelectorAll("#strip [data-pick]")];
const picked = () => thumbs().find((thumb) => thumb.getAttribute("aria-pressed") === "true")?.dataset.pick;
const PACE = 700; // milliseconds a layer
let turn = 0;

const show = (pick) => {
  const panel = document.querySelector("#panel .tl-panel");
  const picture = panel?.querySelector(".tl-triplet")?.children[1];
  const scores = panel?.querySelector(".tl-scores");
  const look = current().looks[pick];
  if (look && picture && scores) [picture.outerHTML, scores.outerHTML] = look;
};
const mark = (pick) => {
  for (const thumb of thumbs()) {
    const here = thumb.dataset.pick === pick;
    thumb.classList.toggle("tl-walked", here);
    if (here) seen(thumb);
  }
};
const still = () => {
  if (play.getAttribute("aria-pressed") !== "true") return false;
  turn += 1;
  play.setAttribute("aria-pressed", "false");
  play.firstChild.textContent = "Play";
  mark("");
  return true;
};
const walk = async () => {
  const { order, hold } = current();
  if (!order.length) return;
  const mine = ++turn;
  play.setAttribute("aria-pressed", "true");
  play.firstChild.textContent = "Pause";
  said.textContent = "";
  for (const pick of order) {
    show(pick);
    mark(pick);
    await new Promise((resolve) => setTimeout(resolve, PACE));
    if (mine !== turn) return;
  }
  still();
  show(hold);
  trigger("pick", { custom: hold, turn: performance.now() });
  said.textContent = document.querySelector("#panel .tl-triplet")?.children[1]?.querySelector("img")?.alt ?? "";
};
play.addEventListener("click", () => {
  if (still()) show(picked());
  else walk();
});

// The strip and the figures are other components, drawn anew now and then.
const over = (event) => {
  const pick = event.target.closest?.("#strip [data-pick]")?.dataset.pick;
  if (!pick) return;
  still();
  show(pick);
};
document.addEventListener("pointerover", over);
document.addEventListener("focusin", over);
document.addEventListener("pointerout", ({ target, relatedTarget }) => {
  const strip = target.closest?.("#strip");
  if (strip && !strip.contains(relatedTarget)) show(picked());
});
document.addEventListener("textloc-look", ({ target, detail }) => {
  if (!target.closest("#effect, #shares")) return;
  if (detail !== null) still();
  show(detail === null ? picked() : `layer-${detail}`);
});

const column = () => element.closest(".tl-main-column");
full.addEventListener("click", () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else column().requestFullscreen().catch(() => (full.hidden = true));
});
document.addEventListener("fullscreenchange", () => {
  full.setAttribute("aria-pressed", String(document.fullscreenElement === column()));
  window.dispatchEvent(new Event("resize")); // figures take their new width
});
const ready = () => {
  still();
  play.hidden = (props.value?.order ?? []).length < 2;
  full.hidden = !props.value || !document.fullscreenEnabled;
};
watch("value", ready);
ready();
