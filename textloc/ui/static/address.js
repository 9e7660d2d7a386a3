() => {
  // The address follows the tab that one opens, to the link of what it shows if there is any.
  const shares = { localize: "share", edit: "edit-share", "fine-tune": "lora-share", gallery: "gallery-place" };
  const asked = () => new URLSearchParams(location.search);
  document.body.classList.toggle("tl-embed", asked().has("embed"));
  document.querySelector("#jobs")?.addEventListener("click", ({ target }) => {
    const name = target.closest("[role=tab]")?.textContent.trim().toLowerCase();
    if (!name || asked().has("embed")) return;
    const link = document.querySelector(`#${shares[name]} input`)?.value;
    history.replaceState(history.state, "", link || `${location.origin}${location.pathname}?tab=${name}`);
  });
  // A step back or forth opens what that address shows.
  window.addEventListener("popstate", () => location.reload());
}
