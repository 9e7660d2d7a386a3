// Buttons that pick: a click anywhere, arrow keys in a toolbar. props.picked: the pick shown.
const buttons = () => [...element.querySelectorAll("[role=toolbar] [data-pick]")];
const point = () => {
  const all = buttons();
  const current = all.find((button) => button.dataset.pick === props.picked) ?? all[0];
  for (const button of all) {
    button.setAttribute("aria-pressed", String(button.dataset.pick === props.picked));
    button.tabIndex = button === current ? 0 : -1;
  }
  if (props.picked && current?.dataset.pick === props.picked) seen(current);
};

element.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-pick]");
  if (button) trigger("pick", { custom: button.dataset.pick, turn: performance.now() });
});
element.addEventListener("keydown", (event) => {
  const all = buttons();
  const at = all.indexOf(document.activeElement);
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 }[event.key];
  if (at < 0 || to === undefined || !all[to]) return;
  event.preventDefault();
  all[to].focus();
  trigger("pick", { custom: all[to].dataset.pick, turn: performance.now() });
});
watch(["value", "picked"], point);
point();
