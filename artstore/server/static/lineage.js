// The lineage as a drawing: laid out by dagre, each node a link, moved by dragging, the wheel, or the keys.
// Text is only ever set as text; without this script the page has the same nodes as lists.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = { version: 40, run: 34 };
const MARGIN = 24;

function make(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent?.append(element);
  return element;
}

function labelOf(node) {
  if (node.run) return { kind: "run", title: node.run.name, detail: "" };
  const { collection, number, project, state, aliases } = node.version;
  const gone = state === "committed" ? "" : ` (${state})`;
  return { kind: "version", title: `${collection}:v${number}${gone}`, detail: aliases.join(", ") || project };
}

function shortened(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

function layOut(report) {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: "LR", nodesep: 18, ranksep: 52, marginx: MARGIN, marginy: MARGIN });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const node of report.nodes) {
    const label = labelOf(node);
    const longest = Math.max(shortened(label.title, 32).length, shortened(label.detail, 36).length * 0.85);
    graph.setNode(node.key, { node, label, width: 28 + 7.4 * longest, height: HEIGHT[label.kind] });
  }
  for (const edge of report.edges) graph.setEdge(edge.source, edge.target);
  dagre.layout(graph);
  return graph;
}

function curve(points) {
  // Half a step before each corner and half a step behind it: a quadratic curve rounds it.
  const [first, ...others] = points;
  let path = `M${first.x} ${first.y}`;
  for (let i = 0; i < others.length - 1; i += 1) {
    const [at, next] = [others[i], others[i + 1]];
    const end = i === others.length - 2 ? next : { x: (at.x + next.x) / 2, y: (at.y + next.y) / 2 };
    path += `Q${at.x} ${at.y} ${end.x} ${end.y}`;
  }
  return others.length === 1 ? `${path}L${others[0].x} ${others[0].y}` : path;
}

function draw(look, place) {
  const graph = layOut(look.report);
  const svg = make("svg", { height: graph.graph().height + 2 * MARGIN, tabindex: 0, "aria-label": "Drag to move, turn the wheel with Ctrl to zoom" });
  const marker = make("marker", {
    id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto",
  }, make("defs", {}, svg));
  make("path", { d: "M0 0L8 4L0 8Z", class: "arrow" }, marker);
  const edges = make("g", {}, svg);
  for (const name of graph.edges()) {
    make("path", { class: "edge", d: curve(graph.edge(name).points), "marker-end": "url(#arrow)" }, edges);
  }
  for (const key of graph.nodes()) {
    const { x, y, width, height, node, label } = graph.node(key);
    const classes = `node ${label.kind}${key === look.report.start ? " start" : ""}`;
    const link = make("a", { href: look.addresses[key], class: classes, "data-key": key }, svg);
    make("title", {}, link).textContent = label.title;
    make("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: label.kind === "run" ? height / 2 : 6 }, link);
    const two = label.detail !== "";
    make("text", { x, y: y + (two ? -3 : 4), class: "title" }, link).textContent = shortened(label.title, 32);
    if (two) make("text", { x, y: y + 12, class: "detail" }, link).textContent = shortened(label.detail, 36);
  }
  place.append(svg);
  place.hidden = false;
  movable(svg, graph.graph(), graph.node(look.report.start));
}

function movable(svg, whole, start) {
  const box = svg.getBoundingClientRect();
  // As large as it is, or smaller, as far as it can be read, if then all is seen; else around what was asked about.
  const least = box.width < 600 ? 0.85 : 0.6;
  let scale = Math.max(Math.min(1, box.width / whole.width, box.height / whole.height), least);
  const fits = (length, seen) => length * scale <= seen;
  const view = {
    x: fits(whole.width, box.width) ? (whole.width - box.width / scale) / 2 : start.x - box.width / scale / 2,
    y: fits(whole.height, box.height) ? (whole.height - box.height / scale) / 2 : start.y - box.height / scale / 2,
  };
  const show = () => {
    const seen = svg.getBoundingClientRect();
    svg.setAttribute("viewBox", `${view.x} ${view.y} ${seen.width / scale} ${seen.height / scale}`);
  };
  const zoom = (factor, x, y) => {
    const to = Math.min(3, Math.max(0.1, scale * factor));
    view.x += x / scale - x / to;
    view.y += y / scale - y / to;
    scale = to;
    show();
  };
  let held = null;
  svg.addEventListener("pointerdown", (event) => {
    if (event.button === 0) held = { x: event.clientX, y: event.clientY, moved: false };
  });
  svg.addEventListener("pointermove", (event) => {
    if (!held || !(event.buttons & 1)) return;
    const [dx, dy] = [event.clientX - held.x, event.clientY - held.y];
    if (!held.moved && Math.hypot(dx, dy) < 4) return;
    if (!held.moved) svg.setPointerCapture(event.pointerId);
    view.x -= dx / scale;
    view.y -= dy / scale;
    held = { x: event.clientX, y: event.clientY, moved: true };
    show();
  });
  // A drag that ends on a node does not follow its link.
  svg.addEventListener("click", (event) => {
    if (held?.moved) event.preventDefault();
    held = null;
  }, true);
  svg.addEventListener("dragstart", (event) => event.preventDefault());
  svg.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const seen = svg.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY / 300), event.clientX - seen.left, event.clientY - seen.top);
  }, { passive: false });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-60, 0], ArrowRight: [60, 0], ArrowUp: [0, -60], ArrowDown: [0, 60] }[event.key];
    const seen = svg.getBoundingClientRect();
    if (step) {
      view.x += step[0] / scale;
      view.y += step[1] / scale;
      show();
    } else if (event.key === "+" || event.key === "-") {
      zoom(event.key === "+" ? 1.25 : 0.8, seen.width / 2, seen.height / 2);
    } else return;
    event.preventDefault();
  });
  svg.addEventListener("focusin", (event) => {
    // Whoever goes from node to node by Tab sees where that is.
    const shape = event.target.querySelector?.(":scope > rect");
    if (!shape || !event.target.matches(":focus-visible")) return;
    const seen = svg.getBoundingClientRect();
    view.x = shape.x.baseVal.value + shape.width.baseVal.value / 2 - seen.width / scale / 2;
    view.y = shape.y.baseVal.value + shape.height.baseVal.value / 2 - seen.height / scale / 2;
    show();
  });
  new ResizeObserver(show).observe(svg);
  show();
}

const place = document.getElementById("lineage");
fetch(place.dataset.source)
  .then((answer) => answer.json())
  .then((look) => draw(look, place));
