"use strict";
// A report: figures, small pictures and tables change the pictures beside each other.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const here = (id) => document.getElementById(id);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const picked = data.start ? [...data.start] : null; // [pick, pair, place of the seed]
  const numbers = new Map(data.picks.map(([pick], number) => [pick, number]));

  // ---------------------------------------------------------------- pictures

  const put = (image, place) => {
    image.hidden = place === null;
    if (place === null) return image.removeAttribute("src");
    const [address, pixels] = data.pictures[place];
    image.src = address;
    image.classList.toggle("pixels", pixels);
  };

  const card = (told) => {
    const made = here("card").content.cloneNode(true).querySelector("figure");
    const part = (name) => made.querySelector(`.${name}`);
    made.classList.toggle("main", told.main);
    put(part("below"), told.picture === null ? null : told.under);
    put(part("image"), told.picture);
    part("image").alt = told.alt;
    part("image").classList.toggle("minus", told.under !== null);
    part("none").hidden = told.picture !== null;
    part("none").textContent = told.missing;
    part("veil").hidden = !told.veiled;
    part("title").textContent = told.title;
    part("note").textContent = told.note;
    part("read").hidden = told.picture === null || told.said === null;
    part("said").textContent = told.said ?? "";
    part("letters").replaceChildren(
      ...told.letters.map(([kind, letter]) => {
        const shown = document.createElement("span");
        shown.className = kind;
        shown.textContent = kind === "missing" ? "·" : letter.trim() ? letter : "␣";
        return shown;
      }),
    );
    return made;
  };

  const term = ([name, value]) => {
    const made = document.createElement("div");
    const [dt, dd] = ["dt", "dd"].map((tag) => made.appendChild(document.createElement(tag)));
    dt.textContent = name;
    dd.textContent = value;
    return made;
  };

  const found = ([pick, pair, seed]) => data.looks[pick]?.[`${pair} ${seed}`];

  // Where a target leads from here. A set that was not patched for this pair leads to one that was.
  const led = ([pick, pair, seed], from = picked) => {
    const place = [pick ?? from[0], pair ?? from[1], seed ?? from[2]];
    if (found(place)) return place;
    if (pick === null) return [data.start[0], place[1], place[2]];
    const first = Object.keys(data.looks[place[0]] ?? {})[0];
    return first ? [place[0], ...first.split(" ").map(Number)] : null;
  };

  let shown = picked && picked.join(" ");
  const show = (place) => {
    if (!place || !found(place) || shown === place.join(" ")) return;
    shown = place.join(" ");
    const [cards, facts] = found(place);
    here("cards").replaceChildren(...cards.map((number) => card(data.cards[number])));
    here("facts").replaceChildren(...data.facts[facts].map(term));
    here("pick").value = String(numbers.get(place[0]));
    here("pair").value = String(place[1]);
    here("seed").value = String(place[2]);
  };

  const pick = (target) => {
    const place = picked && led(target);
    if (!place || !found(place)) return;
    const elsewhere = place[1] !== picked[1] || place[2] !== picked[2];
    picked.splice(0, 3, ...place);
    show(place);
    const main = found(place)[0].map((number) => data.cards[number]).find((told) => told.main);
    const name = data.picks[numbers.get(place[0])][1];
    here("told").textContent = main?.said ? `${name}: ${main.said}` : name;
    if (elsewhere) strip();
    point();
  };

  // ---------------------------------------------------------------- small pictures

  const strip = () => {
    const made = data.picks.map(([name, long, short, chosen]) => {
      const look = found([name, picked[1], picked[2]]);
      const main = look?.[0].map((number) => data.cards[number]).find((told) => told.main);
      if (!main || main.picture === null) return null;
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.look = JSON.stringify([name, null, null]);
      button.title = `${short}: ${long}${main.said ? `, ${main.said}` : ""}`;
      button.setAttribute("aria-label", button.title);
      button.classList.toggle("chosen", chosen);
      const image = document.createElement("img");
      image.alt = "";
      put(image, main.picture);
      const label = document.createElement("span");
      label.textContent = short;
      button.append(image, label);
      return button;
    });
    here("strip").replaceChildren(...made.filter(Boolean));
  };

  const target = (button) => JSON.parse(button.dataset.look);

  // Marks what is picked: small picture, rows of tables, columns of figures.
  const point = () => {
    const buttons = [...here("strip").children];
    const current = buttons.find((button) => target(button)[0] === picked[0]);
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String(button === current));
      button.tabIndex = button === (current ?? buttons[0]) ? 0 : -1;
    }
    if (current) {
      const left = current.offsetLeft - here("strip").offsetLeft;
      const end = here("strip").scrollLeft + here("strip").clientWidth;
      if (left < here("strip").scrollLeft || left + current.offsetWidth > end)
        here("strip").scrollLeft = left - here("strip").clientWidth / 2;
    }
    for (const button of document.querySelectorAll("th [data-look]")) {
      const same = target(button).every((one, n) => (one === null ? n > 0 : one === picked[n]));
      button.closest("tr").classList.toggle("here", same);
    }
    figures.filter(({ pointed }) => pointed).forEach(draw);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-look]");
    if (button) pick(target(button));
  });

  const choices = () => {
    here("pick").addEventListener("change", ({ target: { value } }) =>
      pick([data.picks[Number(value)][0], null, null]),
    );
    here("pair").addEventListener("change", ({ target: { value } }) => {
      pick(found([picked[0], Number(value), picked[2]]) ? [picked[0], Number(value), null] : [null, Number(value), null]);
    });
    here("seed").addEventListener("change", ({ target: { value } }) => {
      pick(found([picked[0], picked[1], Number(value)]) ? [picked[0], null, Number(value)] : [null, null, Number(value)]);
    });
    here("strip").addEventListener("keydown", (event) => {
      const all = [...here("strip").children];
      const at = all.indexOf(document.activeElement);
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 }[event.key];
      if (at < 0 || to === undefined || !all[to]) return;
      event.preventDefault();
      all[to].focus();
      pick(target(all[to]));
    });
  };

  // ---------------------------------------------------------------- figures

  const plots = [...document.querySelectorAll(".plot")];
  const figures = data.figures.map((figure, number) => ({ ...figure, plot: plots[number] }));
  let printing = false;

  // The columns of the picked layers, as shapes behind the bars.
  const columns = ({ data: [bars], layout }, dark) => {
    const layers = picked && picked[0] !== "all" ? (picked[0].match(/[0-9]+/g) ?? []).map(Number) : [];
    const names = layout.xaxis?.categoryarray;
    const at = (layer) => {
      const x = bars?.x[(bars.customdata ?? []).indexOf(layer)];
      return names ? names.indexOf(x) : (x ?? -1);
    };
    return layers.map(at).filter((x) => x >= 0).map((x) => ({
      type: "rect", layer: "below", x0: x - 0.5, x1: x + 0.5, yref: "paper", y0: 0, y1: 1,
      line: { width: 0 }, fillcolor: dark ? "rgba(148,163,184,0.20)" : "rgba(100,116,139,0.14)",
    }));
  };

  const leads = (figure, points) => {
    const one = points[0];
    const trace = one && figure.looks[one.curveNumber];
    const found = Array.isArray(one?.pointNumber)
      ? trace?.[one.pointNumber[0]]?.[one.pointNumber[1]]
      : trace?.[one?.pointNumber];
    return found && picked ? found : null;
  };

  function draw(figure) {
    if (!window.Plotly) return;
    const dark = scheme.matches && !printing;
    const drawn = figure[dark ? "dark" : "light"];
    const shapes = figure.pointed ? columns(drawn, dark) : [];
    const clear = "rgba(0,0,0,0)";
    const layout = { ...drawn.layout, paper_bgcolor: clear, plot_bgcolor: clear };
    layout.shapes = [...shapes, ...(drawn.layout.shapes ?? [])];
    window.Plotly.react(figure.plot, drawn.data, layout, data.config);
    if (figure.plot.dataset.ready) return;
    figure.plot.dataset.ready = "1";
    figure.plot.classList.toggle("led", figure.looks.length > 0 && Boolean(picked));
    figure.plot.on("plotly_click", ({ points }) => pick(leads(figure, points) ?? picked));
    figure.plot.on("plotly_hover", ({ points }) => {
      const to = leads(figure, points);
      if (to) show(led(to));
    });
    figure.plot.on("plotly_unhover", () => show(picked));
  }

  const drawAll = () => figures.forEach(draw);

  // Plotly.js is kept compressed in this file and started from there.
  const start = async () => {
    if (!figures.length) return;
    try {
      const packed = Uint8Array.from(atob(here("plotly").textContent), (c) => c.charCodeAt(0));
      const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
      const script = document.createElement("script");
      script.textContent = await new Response(stream).text();
      document.head.append(script);
    } catch {
      // told below
    }
    if (window.Plotly) return drawAll();
    for (const plot of plots) {
      plot.style.height = "auto";
      plot.textContent = "This browser cannot draw the figure; the tables say the same.";
    }
  };

  scheme.addEventListener("change", drawAll);
  addEventListener("beforeprint", () => {
    printing = true;
    drawAll();
  });
  addEventListener("afterprint", () => {
    printing = false;
    drawAll();
  });

  if (picked) {
    here("cards").style.setProperty("--columns", String(here("cards").children.length));
    choices();
    strip();
    point();
  }
  start();
})();
