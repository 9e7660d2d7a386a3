// Looking at layers without asking the server: their pictures are here. Moving over a bar or a small
// picture shows it, leaving goes back to the picked one; Play walks the layers one by one and stays
// at the pick to hold at. props.value: {looks: {pick: [picture, scores]}, order: [picks], hold} or
// null; the event `pick` is the pick that Play ends at.
const play = element.querySelector("[data-play]");
const full = element.querySelector("[data-full]");
const said = element.querySelector("[role=status]");
const looks = () => props.value?.looks ?? {};
const thumbs = () => [...document.querySelectorAll("#strip [data-pick]")];
const picked = () => thumbs().find((thumb) => thumb.getAttribute("aria-pressed") === "true")?.dataset.pick;
const PACE = 700; // milliseconds a layer
let turn = 0;

const show = (pick) => {
  const panel = document.querySelector("#panel .tl-panel");
  const picture = panel?.querySelector(".tl-triplet")?.children[1];
  const scores = panel?.querySelector(".tl-scores");
  if (!looks()[pick] || !picture || !scores) return;
  [picture.outerHTML, scores.outerHTML] = looks()[pick];
};
const mark = (pick) => {
  for (const thumb of thumbs()) {
    const here = thumb.dataset.pick === pick;
    thumb.classList.toggle("tl-walked", here);
    if (!here) continue;
    const strip = thumb.parentElement;
    const left = thumb.offsetLeft - strip.offsetLeft;
    if (left < strip.scrollLeft || left + thumb.offsetWidth > strip.scrollLeft + strip.clientWidth)
      strip.scrollLeft = left - strip.clientWidth / 2;
  }
};
const still = () => {
  turn += 1;
  play.setAttribute("aria-pressed", "false");
  play.firstChild.textContent = "Play";
  mark("");
};
const walk = async () => {
  const mine = ++turn;
  play.setAttribute("aria-pressed", "true");
  play.firstChild.textContent = "Pause";
  said.textContent = "";
  for (const pick of props.value.order) {
    show(pick);
    mark(pick);
    await new Promise((resolve) => setTimeout(resolve, PACE));
    if (mine !== turn) return;
  }
  still();
  const { hold } = props.value;
  show(hold);
  trigger("pick", { custom: hold });
  said.textContent = document.querySelector("#panel .tl-triplet")?.children[1]?.querySelector("img")?.alt ?? "";
};
play.addEventListener("click", () => {
  if (play.getAttribute("aria-pressed") === "true") {
    still();
    show(picked());
  } else walk();
});

// The strip and the figures are other components, drawn anew now and then.
const over = (event) => {
  const pick = event.target.closest?.("#strip [data-pick]")?.dataset.pick;
  if (!pick) return;
  if (play.getAttribute("aria-pressed") === "true") still();
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
  if (detail !== null && play.getAttribute("aria-pressed") === "true") still();
  show(detail === null ? picked() : `layer-${detail}`);
});

const column = () => element.closest(".tl-main-column");
full.addEventListener("click", () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else column().requestFullscreen().catch(() => (full.hidden = true));
});
document.addEventListener("fullscreenchange", () =>
  full.setAttribute("aria-pressed", String(document.fullscreenElement === column())),
);
const ready = () => {
  if (play.getAttribute("aria-pressed") === "true") still();
  play.hidden = (props.value?.order ?? []).length < 2;
  full.hidden = !props.value || !document.fullscreenEnabled;
};
watch("value", ready);
ready();
