// Copy link and save files. props.value: {id, complete, name, json, csv} or null.
const status = element.querySelector("[role=status]");
const field = element.querySelector("input");
const copy = element.querySelector("[data-copy]");
const archive = element.querySelector("[data-archive]");
const load = (address, name) => {
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
};

const show = () => {
  const value = props.value;
  for (const button of element.querySelectorAll("button")) button.disabled = !value;
  const link = value?.id ? `${location.origin}${location.pathname}?r=${value.id}` : "";
  copy.disabled = archive.disabled = !link;
  field.value = link;
  field.hidden = !link;
  const unlinked = value?.complete
    ? "This result is not stored and has no link; save it as JSON."
    : "A link is there once the run is complete.";
  status.textContent = value && !link ? unlinked : "";
  if (link && value.follow) history.replaceState(history.state, "", link);
};

copy.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(field.value);
    status.textContent = "Link copied.";
  } catch {
    field.focus();
    field.select();
    status.textContent = document.execCommand("copy") ? "Link copied." : "Copy the link above.";
  }
});

for (const button of element.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => {
    const kind = button.dataset.save;
    const type = kind === "csv" ? "text/csv" : "application/json";
    const address = URL.createObjectURL(new Blob([props.value[kind]], { type }));
    load(address, `${props.value.name}.${kind}`);
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });
}
archive.addEventListener("click", () => {
  const { id, name } = props.value;
  load(`gradio_api/textloc/${id}.zip`, `${name}.zip`);
});
watch("value", show);
show();
