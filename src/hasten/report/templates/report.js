// Draws a page's charts with uPlot. Every text goes into the page as text, never as HTML.
(() => {
  "use strict";
  const color = (tone) => getComputedStyle(document.documentElement).getPropertyValue(`--${tone}`).trim();
  const FONT = "12px system-ui, -apple-system, Segoe UI, Roboto, sans-serif";
  const DASHES = { dashed: [7, 4], dotted: [2, 3] };

  function element(name, kind, text) {
    const node = document.createElement(name);
    if (kind) node.className = kind;
    if (text != null) node.textContent = text;
    return node;
  }

  /** The charts of a figure: one legend, one zoom and one cursor for all. */
  class Explore {
    constructor(figure, number) {
      this.charts = JSON.parse(figure.querySelector("script").textContent);
      this.key = `explore-${number}`;
      this.hidden = new Set();
      const ends = this.charts.flatMap(({ x }) => (x.length ? [x[0], x.at(-1)] : []));
      this.whole = [Math.min(...ends, Infinity), Math.max(...ends, -Infinity)];
      if (!(this.whole[0] < this.whole[1])) this.whole = [(ends[0] ?? 0) - 0.5, (ends[0] ?? 0) + 0.5];
      this.axis = 24 + Math.max(22, ...this.charts.flatMap(({ names }) => names.map(([, text]) => 6.6 * text.length)));
      this.plots = [];
      const legend = element("div", "legend");
      for (const line of this.lines()) legend.append(this.switch(line));
      const tools = element("span", "tools");
      this.back = this.tool("Reset", "Show all of it again", () => this.zoom(0));
      this.back.disabled = true;
      tools.append(this.tool("+", "Zoom in", () => this.zoom(0.5)), this.tool("−", "Zoom out", () => this.zoom(2)), this.back);
      legend.append(tools);
      const grid = element("div", this.charts.some((chart) => chart.title) ? "charts many" : "charts");
      this.places = this.charts.map((chart) => {
        const place = element("div", "chart");
        if (chart.title) place.append(element("h4", "", chart.title));
        place.append(element("div", "y", chart.yLabel));
        const box = element("div");
        box.style.minHeight = `${chart.height}px`;
        place.append(box);
        grid.append(place);
        return box;
      });
      figure.prepend(legend, grid);
    }

    /** What the legend names: lines of the same label are switched together. */
    lines() {
      const found = new Map();
      for (const chart of this.charts) for (const line of chart.lines) if (!found.has(line.label)) found.set(line.label, line);
      return [...found.values()];
    }

    switch(line) {
      const button = element("button", line.style);
      button.type = "button";
      button.style.setProperty("--tone", `var(--${line.tone})`);
      button.setAttribute("aria-pressed", "true");
      button.append(element("i"), line.label);
      button.addEventListener("click", () => {
        if (!this.hidden.delete(line.label)) this.hidden.add(line.label);
        button.setAttribute("aria-pressed", String(!this.hidden.has(line.label)));
        for (const plot of this.plots) plot.batch(() => plot.series.forEach((one, i) => one.of === line.label && plot.setSeries(i, { show: !this.hidden.has(line.label) })));
      });
      return button;
    }

    tool(text, title, act) {
      const button = element("button", "", text);
      button.type = "button";
      button.title = title;
      button.setAttribute("aria-label", title);
      button.addEventListener("click", act);
      return button;
    }

    /** Every chart shows this much of what it shows now; all of it for 0. */
    zoom(factor) {
      for (const plot of this.plots) {
        const { min, max } = plot.scales.x;
        const [first, last] = this.whole;
        const middle = plot.cursor.left >= 0 ? plot.posToVal(plot.cursor.left, "x") : (min + max) / 2;
        const low = Math.max(first, middle - factor * (middle - min)), high = Math.min(last, middle + factor * (max - middle));
        plot.setScale("x", factor ? { min: low, max: high } : { min: first, max: last });
      }
    }

    draw() {
      this.drawn = true;
      for (const plot of this.plots) plot.destroy();
      this.plots = this.charts.map((chart, i) => drawn(chart, this.places[i], this));
    }

    zoomed() {
      this.back.disabled = this.plots.every(({ scales }) => scales.x.min <= this.whole[0] && scales.x.max >= this.whole[1]);
    }
  }

  /** The series of a line: itself, and the two ends of its interval. */
  function series(line, hidden) {
    const stroke = color(line.tone), show = !hidden.has(line.label);
    const points = line.style === "dots" || line.style === "rings";
    const main = { label: line.label, of: line.label, show, stroke, width: 2, dash: DASHES[line.style], spanGaps: false, points: { show: false }, tone: line.tone };
    if (line.style === "steps") main.paths = uPlot.paths.stepped({ align: 1 });
    if (line.fill) main.fill = `${stroke}33`;
    if (points) {
      main.paths = () => null;
      main.points = { show: true, size: line.style === "dots" ? 5 : 7, width: line.style === "dots" ? 0 : 1.6, stroke, fill: line.style === "dots" ? stroke : "transparent" };
    }
    const end = { of: line.label, show, stroke: "transparent", width: 0, points: { show: false }, aside: true };
    return line.band ? [main, { ...end }, { ...end }] : [main];
  }

  const number = (value, digits) => Number(value.toFixed(digits)).toLocaleString("en", { maximumFractionDigits: digits, useGrouping: false });

  function drawn(chart, box, owner) {
    const names = new Map(chart.names);
    const tell = (value) => names.get(value) ?? (chart.names.length ? "" : number(value, chart.digits));
    const all = [], bands = [], data = [chart.x];
    for (const line of chart.lines) {
      if (line.band) bands.push({ series: [all.length + 3, all.length + 2], fill: `${color(line.tone)}2b` });
      all.push(...series(line, owner.hidden));
      data.push(line.y, ...(line.band ?? []));
    }
    const axis = { stroke: color("soft"), grid: { stroke: color("grid"), width: 1 }, ticks: { show: false }, font: FONT, labelFont: FONT };
    const named = chart.names.map(([y]) => y);
    const range = (_, low, high) => {
      const pad = 0.06 * (high - low || Math.abs(high) || 1);
      return [chart.low ?? low - pad, chart.high ?? high + pad];
    };
    const tip = element("div", "tip");
    tip.hidden = true;
    const options = {
      width: box.clientWidth || 300, height: chart.height, legend: { show: false }, bands,
      scales: { x: { time: false, range: (_, low, high) => (low == null || (low === chart.x[0] && high === chart.x.at(-1)) ? owner.whole : [low, high]) }, y: { range } },
      series: [{}, ...all],
      axes: [
        { ...axis, label: chart.xLabel, labelSize: 20, size: 28 },
        named.length ? { ...axis, size: owner.axis, splits: () => named, values: (_, at) => at.map((y) => names.get(y) ?? "") } : { ...axis, size: owner.axis, values: (_, at) => at.map((y) => number(y, 6)) },
      ],
      cursor: { y: false, points: { size: 7 }, drag: { x: true, y: false, dist: 6 }, sync: { key: owner.key, scales: ["x", null] } },
      hooks: {
        draw: [(plot) => mark(plot, chart)],
        setScale: [(_, key) => key === "x" && owner.zoomed()],
        setCursor: [(plot) => (plot.over.matches(":hover") ? tooltip(plot, tip, chart, tell) : (tip.hidden = true))],
      },
    };
    const plot = new uPlot(options, data, box);
    plot.over.append(tip);
    plot.over.addEventListener("mouseleave", () => (tip.hidden = true));
    return plot;
  }

  function mark(plot, chart) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = color("text");
    ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
    for (const [x, text] of chart.marks) {
      const at = plot.valToPos(x, "x", true);
      if (at < bbox.left || at > bbox.left + bbox.width) continue;
      ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(at, bbox.top);
      ctx.lineTo(at, bbox.top + bbox.height);
      ctx.stroke();
      ctx.textAlign = at > bbox.left + 0.8 * bbox.width ? "right" : "left";
      ctx.fillText(text, at + (ctx.textAlign === "left" ? 5 : -5) * devicePixelRatio, bbox.top + bbox.height - 8 * devicePixelRatio);
    }
    ctx.restore();
  }

  function tooltip(plot, tip, chart, tell) {
    const { left, top, idx } = plot.cursor;
    tip.hidden = idx == null || left < 0;
    if (tip.hidden) return;
    tip.replaceChildren(element("b", "", chart.notes[idx] ?? `${number(chart.x[idx], 2)} ${chart.xLabel.split(", ").pop()}`));
    plot.series.forEach((one, i) => {
      const value = i && !one.aside && one.show && !chart.notes.length ? plot.data[i][idx] : null;
      if (value == null) return;
      const row = element("div"), name = element("span"), swatch = element("i");
      swatch.style.setProperty("--tone", `var(--${one.tone})`);
      name.append(swatch, one.label);
      row.append(name, element("span", "", tell(value)));
      tip.append(row);
    });
    const wide = plot.over.clientWidth, right = left > wide / 2;
    tip.style.left = right ? "" : `${left + 14}px`;
    tip.style.right = right ? `${wide - left + 14}px` : "";
    tip.style.top = `${Math.max(Math.min(top, plot.over.clientHeight - tip.offsetHeight), -20)}px`;
  }

  const figures = new Map([...document.querySelectorAll("figure.explore")].map((node, i) => [node, new Explore(node, i)]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting && !figures.get(entry.target).drawn) figures.get(entry.target).draw();
  }, { rootMargin: "600px" });
  const sized = new ResizeObserver((entries) => {
    for (const { target } of entries) for (const [i, plot] of figures.get(target).plots.entries()) {
      const box = figures.get(target).places[i], width = box.clientWidth;
      if (width && width !== plot.width) plot.setSize({ width, height: plot.height });
    }
  });
  for (const node of figures.keys()) { seen.observe(node); sized.observe(node); }
  const again = (which) => { for (const one of figures.values()) if (which(one)) one.draw(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => again((one) => one.drawn));
  addEventListener("beforeprint", () => again((one) => !one.drawn));
})();
