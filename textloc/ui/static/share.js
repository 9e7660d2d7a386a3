// Copy link and save files. props.value: {id, complete, own, name, json, csv, follow, run} or null;
// run names the run that it came from. props.place: what the link says beside the result, such as
// &layer=9; props.file: {name, text} of a file that was asked for, of a result without a link.
const status = element.querySelector("[role=status]");
const field = element.querySelector("input");
const copy = element.querySelector("[data-copy]");
const embed = element.querySelector("[data-embed]");
const remove = element.querySelector("[data-delete]");
const asks = element.querySelector("[data-ask]");
const archives = [...element.querySelectorAll("[data-archive]")];
const load = (address, name) => {
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
};
const save = (text, type, name) => {
  const address = URL.createObjectURL(new Blob([text], { type }));
  load(address, name);
  setTimeout(() => URL.revokeObjectURL(address), 1000);
};
const here = () => `${location.origin}${location.pathname}`;

const show = () => {
  const value = props.value;
  if (value?.receipt) {
    try {
      localStorage.setItem(`textloc-own-${value.id}`, value.receipt); // lets the gallery delete it
    } catch {
      // no storage here: then it stays
    }
  }
  for (const button of element.querySelectorAll("button")) button.disabled = !value;
  if (!copy) return; // files alone
  const link = value?.id ? `${here()}?r=${value.id}${props.place ?? ""}` : "";
  for (const button of [copy, embed, ...archives]) button.disabled = !link;
  remove.hidden = !value?.own;
  field.value = link;
  field.hidden = !link;
  element.dispatchEvent(new CustomEvent("textloc-link", { bubbles: true }));
  const unlinked = value?.complete
    ? "This result is not stored and has no link; save it as JSON."
    : "A link is there once the run is complete.";
  status.textContent = value && !link ? unlinked : "";
  const asked = new URLSearchParams(location.search);
  if (!link || !(value.follow || asked.get("r") === value.id) || asked.has("embed")) return;
  // another result is a step for the browser's back button, another look at it is not
  const same = asked.get("r") === value.id || (value.run && asked.get("run") === value.run);
  const step = same ? "replaceState" : "pushState";
  history[step](history.state, "", link);
};

const taken = async (text, said) => {
  try {
    await navigator.clipboard.writeText(text);
    status.textContent = said;
  } catch {
    field.value = text;
    field.focus();
    field.select();
    status.textContent = document.execCommand("copy") ? said : "Copy the text above.";
  }
};
copy?.addEventListener("click", () => taken(field.value, "Link copied."));
embed?.addEventListener("click", () =>
  taken(
    `<iframe src="${here()}?r=${props.value.id}${props.place ?? ""}&embed=1" width="100%" ` +
      'height="900" style="border:0" title="textloc result"></iframe>',
    "Code for an iframe copied.",
  ),
);

for (const button of element.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => {
    const kind = button.dataset.save;
    const type = kind === "csv" ? "text/csv" : "application/json";
    save(props.value[kind], type, `${props.value.name}.${kind}`);
  });
}
for (const button of archives) {
  button.addEventListener("click", () => {
    const { id, name } = props.value;
    const kind = button.dataset.archive;
    load(`gradio_api/textloc/${id}.${kind}`, `${name}.${kind}`);
  });
}
asks?.addEventListener("click", () => trigger("pick", { custom: asks.dataset.ask }));
remove?.addEventListener("click", () => {
  if (confirm("Delete this result? Its link will open no more.")) {
    remove.disabled = true;
    trigger("pick", { custom: "delete" });
  }
});
watch(["value", "place"], show);
watch("file", () => props.file && save(props.file.text, "text/html", props.file.name));
show();
