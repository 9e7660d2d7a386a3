// Copy link and save files. props.value: {id, name, json, csv} or null.
const status = element.querySelector("[role=status]");
const field = element.querySelector("input");
const copy = element.querySelector("[data-copy]");

const show = () => {
  const value = props.value;
  for (const button of element.querySelectorAll("button")) button.disabled = !value;
  const link = value?.id ? `${location.origin}${location.pathname}?r=${value.id}` : "";
  copy.disabled = !link;
  field.value = link;
  field.hidden = !link;
  status.textContent = value && !link ? "A link is there once the run is complete." : "";
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
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([props.value[kind]], { type }));
    link.download = `${props.value.name}.${kind}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}
watch("value", show);
show();
