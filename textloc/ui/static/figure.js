// A Plotly figure that reports clicks. Given by Gradio: element, props, trigger, watch.
// props.value: {light, dark, config, label} or null; props.picked: layer numbers to point at;
// props.cell: [line, column] to mark in a map of cells.
const plot = element.querySelector(".tl-plot");
const dark = () => document.body.classList.contains("dark");
const save = element.querySelector(".tl-png");
const height = Number(plot.dataset.height);
let turn = 0;
let shown = "";

const library = () =>
  (window.textlocPlotly ??= new Promise((resolve, reject) => {
    if (window.Plotly) return resolve();
    let script = document.querySelector("script[data-plotly]");
    if (!script) {
      script = document.createElement("script");
      script.src = plot.dataset.source;
      script.dataset.plotly = "";
      document.head.append(script);
    }
    script.addEventListener("load", () => resolve());
    script.addEventListener("error", () => reject(new Error("Plotly.js did not load")));
  }));

// The columns of the picked layers, as shapes behind the bars.
const pointer = ({ data, layout }) => {
  const numbers = data[0]?.customdata ?? [];
  const names = layout.xaxis?.categoryarray;
  const column = (layer) => {
    const x = data[0]?.x[numbers.indexOf(layer)];
    return names ? names.indexOf(x) : (x ?? -1);
  };
  const columns = (props.picked ?? []).map(column).filter((x) => x >= 0);
  return columns.map((x) => ({
    type: "rect",
    layer: "below",
    x0: x - 0.5,
    x1: x + 0.5,
    yref: "paper",
    y0: 0,
    y1: 1,
    line: { width: 0 },
    fillcolor: dark() ? "rgba(148,163,184,0.20)" : "rgba(100,116,139,0.14)",
  }));
};

// A map of cells is gone through by arrow keys too; Enter is a click. The cell is [row, column].
const told = element.querySelector("[role=status]");
let cell = null;
const cells = () => {
  const trace = props.value?.light?.data?.[0];
  return trace?.type === "heatmap" ? trace : null;
};
const known = (trace) => Boolean(cell && trace.text[cell[0]]?.[cell[1]]);
const edges = (places, count, at) =>
  places.length > count ? [places[at], places[at + 1]] : [places[at] - 0.5, places[at] + 0.5];
const cursor = () => {
  const trace = cells();
  if (!trace || !known(trace)) return [];
  if (document.activeElement !== plot && String(cell) !== String(props.cell ?? "")) return [];
  const [x0, x1] = edges(trace.x, trace.text[0].length, cell[1]);
  const [y0, y1] = edges(trace.y, trace.text.length, cell[0]);
  return [{ type: "rect", x0, x1, y0, y1, line: { width: 3, color: "#d97706" } }];
};
const moved = (trace, [row, column], [down, right]) => {
  const there = () => trace.text[row]?.[column] !== undefined;
  do [row, column] = [row + down, column + right];
  while (there() && !trace.text[row][column]);
  return there() ? [row, column] : null;
};
const first = (trace) => {
  const row = trace.text.findIndex((line) => line.some(Boolean));
  return row < 0 ? null : [row, trace.text[row].findIndex(Boolean)];
};
const say = (trace) => {
  const made = document.createElement("template");
  made.innerHTML = trace.text[cell[0]][cell[1]].replaceAll("<br>", " · ");
  told.textContent = made.content.textContent;
};
plot.addEventListener("focus", () => {
  const trace = cells();
  if (!trace) return;
  if (!known(trace)) cell = first(trace);
  told.textContent = "Arrow keys go from cell to cell, Enter picks one.";
  draw();
});
plot.addEventListener("blur", () => draw());
plot.addEventListener("keydown", (event) => {
  const trace = cells();
  if (!trace || !(known(trace) || (cell = first(trace))) || event.altKey || event.ctrlKey || event.metaKey) return;
  const filled = trace.text[cell[0]].map((text, at) => (text ? at : -1)).filter((at) => at >= 0);
  const end = { Home: filled[0], End: filled.at(-1) }[event.key];
  const way = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (way) {
    cell = moved(trace, cell, way) ?? cell;
    say(trace);
    draw();
  } else if (end !== undefined) {
    cell = [cell[0], end];
    say(trace);
    draw();
  } else if (event.key === "Enter" || event.key === " ") {
    trigger("pick", { custom: trace.customdata[cell[0]][cell[1]], turn: performance.now() });
  } else return;
  event.preventDefault();
});

const draw = async () => {
  const mine = ++turn;
  const figure = props.value?.[dark() ? "dark" : "light"];
  if (!figure) return;
  try {
    await library();
  } catch {
    plot.dataset.shown = "";
    plot.textContent = "The figure could not be loaded. The table below says the same.";
    return;
  }
  if (mine !== turn) return; // a newer value came meanwhile
  const marks = [...pointer(figure), ...(figure.layout.shapes ?? []), ...cursor()];
  const asked = JSON.stringify([figure, marks, dark()]);
  if (asked === shown) return; // a run says with every step what it has said before
  shown = asked;
  const clear = "rgba(0,0,0,0)";
  const layout = {
    ...figure.layout,
    height: height || figure.layout.height,
    paper_bgcolor: clear,
    plot_bgcolor: clear,
    shapes: marks,
  };
  plot.style.height = `${layout.height}px`;
  const about = cells() ? figure.layout.annotations?.[0]?.text.split("<br>")[0] : "";
  plot.setAttribute("aria-label", about ? `Map: ${about}` : props.value.label);
  plot.setAttribute("role", cells() ? "application" : "img");
  if (cells()) plot.tabIndex = 0;
  await window.Plotly.react(plot, figure.data, layout, props.value.config);
  if (!plot.dataset.ready) {
    const look = (custom) => {
      if (custom === null || Number.isInteger(custom))
        element.dispatchEvent(new CustomEvent("textloc-look", { bubbles: true, detail: custom }));
    };
    plot.on("plotly_click", ({ points }) => {
      look(points[0]?.customdata);
      const at = points[0]?.pointNumber;
      if (cells() && Array.isArray(at)) {
        cell = [...at]; // the arrow keys go on from there
        draw();
      }
      trigger("pick", { custom: points[0]?.customdata, turn: performance.now() });
    });
    plot.on("plotly_hover", ({ points }) => look(points[0]?.customdata));
    plot.on("plotly_unhover", () => look(null));
    performance.mark("textloc-painted");
  }
  save.hidden = false;
  plot.dataset.shown = "";
  plot.dataset.ready = String(Number(plot.dataset.ready ?? 0) + 1);
};

// The figure as a file, on its own ground and twice as sharp as here.
save.addEventListener("click", async () => {
  const figure = props.value?.[dark() ? "dark" : "light"];
  if (!figure || !window.Plotly) return;
  const { clientWidth: width, clientHeight: high } = plot;
  const layout = { ...figure.layout, width, height: high };
  const link = document.createElement("a");
  link.href = await window.Plotly.toImage({ data: figure.data, layout }, { format: "png", width, height: high, scale: 2 });
  link.download = `textloc-${element.closest("[id]:not([id^='html-'])")?.id ?? "figure"}.png`;
  link.click();
});
const marked = () => {
  if (props.cell) cell = [...props.cell];
  draw();
};
watch(["value", "picked", "cell"], marked);
new MutationObserver(draw).observe(document.body, { attributeFilter: ["class"] });
marked();
