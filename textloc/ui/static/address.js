() => {
  // The address follows the tab that one opens: to the run that goes on there, else to the link of
  // what it shows if there is any.
  const runs = { localize: "progress", edit: "edit-progress", suppress: "suppress-progress", "fine-tune": "lora-progress" };
  const shares = { localize: "share", edit: "edit-share", "fine-tune": "lora-share", gallery: "gallery-place" };
  const asked = () => new URLSearchParams(location.search);
  document.body.classList.toggle("tl-embed", asked().has("embed"));
  const named = (tab) => {
    const shown = tab?.textContent.trim();
    return shown && (window.textloc?.source?.(shown) ?? shown).toLowerCase();
  };
  const address = (name) => {
    const run = document.querySelector(`#${runs[name]} [data-run]`)?.dataset.run;
    const link = !run && document.querySelector(`#${shares[name]} input`)?.value;
    return link || `${location.origin}${location.pathname}?${run ? `run=${run}` : `tab=${name}`}`;
  };
  let going = false; // back or forth: the address is there already
  document.querySelector("#jobs")?.addEventListener("click", ({ target }) => {
    // on a narrow page the last tabs are in a menu
    const name = named(target.closest("[role=tab], .overflow-dropdown button"));
    if (!name || going || asked().has("embed")) return;
    const to = address(name);
    if (to !== location.href) history.pushState(history.state, "", to);
  });
  // Another language, of the same view. Where the page came without its script (server-side
  // rendering), it is asked for here.
  document.querySelector(".tl-languages")?.addEventListener("click", (event) => {
    const language = event.target.closest("a")?.lang;
    if (!language) return;
    event.preventDefault();
    const to = new URL(location.href);
    to.searchParams.set("lang", language);
    location.assign(to);
  });
  const kept = /(?:^|; )textloc-language=(\w+)/.exec(document.cookie)?.[1];
  const wanted = [asked().get("lang"), kept, ...navigator.languages].filter(Boolean);
  const spoken = [...document.querySelectorAll(".tl-languages a")].map((link) => link.lang);
  const language = wanted.map((tag) => tag.slice(0, 2)).find((tag) => spoken.includes(tag));
  if (language && language !== "en" && !window.textloc?.language) {
    document.head.append(
      Object.assign(document.createElement("script"), { src: `gradio_api/textloc/${language}.js` }));
  }
  // A step back or forth opens what that address shows: a tab, where that still shows it.
  window.addEventListener("popstate", () => {
    const tabs = [...document.querySelectorAll("#jobs [role=tab]")];
    const tab = tabs.find((one) => named(one) in runs && address(named(one)) === location.href);
    if (!tab) return location.reload();
    going = true;
    tab.click();
    going = false;
  });
}
