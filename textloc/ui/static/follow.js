// How a run stands. The address names the run that goes on, or was stopped, and the browser keeps its
// key, so that a page that is loaded again finds it: then the event `pick` asks for it.
const MOST = 30; // keys that are kept
let known = "";
const kept = (token) => `textloc-run-${token}`;
const follow = () => {
  const { run, key } = element.querySelector("[data-run]")?.dataset ?? {};
  if (!run || run === known) return;
  known = run;
  try {
    const names = Object.keys(localStorage).filter((name) => name.startsWith(kept("")));
    for (const name of names.slice(0, -MOST)) localStorage.removeItem(name);
    localStorage.setItem(kept(run), key);
  } catch {
    // no storage here: then it is not found again
  }
  const asked = new URLSearchParams(location.search);
  if (asked.get("run") === run || asked.has("embed") || !element.offsetParent) return;
  history.pushState(history.state, "", `${location.origin}${location.pathname}?run=${run}`);
};
watch("value", follow);
const wanted = new URLSearchParams(location.search).get("run");
if (wanted) {
  let key = "";
  try {
    key = localStorage.getItem(kept(wanted)) ?? "";
  } catch {
    // as above
  }
  trigger("pick", { custom: [wanted, key] });
}
