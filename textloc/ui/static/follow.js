// How a run stands. The address names the run that goes on, or was stopped, so that a page that is
// loaded again finds it: then the event `pick` asks for it.
let known = "";
const follow = () => {
  const run = element.querySelector("[data-run]")?.dataset.run;
  if (!run || run === known) return;
  known = run;
  const asked = new URLSearchParams(location.search);
  if (asked.get("run") === run || asked.has("embed") || !element.offsetParent) return;
  history.pushState(history.state, "", `${location.origin}${location.pathname}?run=${run}`);
};
watch("value", follow);
const wanted = new URLSearchParams(location.search).get("run");
if (wanted) trigger("pick", { custom: wanted });
