// Where the nodes, edges and labels of a cell stand: Sugiyama's layers (1981) with lanes for edges and their labels, as
// nas/result/cells.py has it. `along` runs from the inputs to the output, `across` from edge to edge beside each other.
// Lanes have room of their own, and edges bend only between columns: labels meet neither one another nor a node.

const INPUTS = 2; // nodes 0 and 1 are the outputs of the two cells before
const PORT = 13; // between the ends of edges at a node
const GAP = 6;
const BARE_LANE = 6;
const SWEEPS = 12;
const STARTS = 24;
const STARTS_BOXES = 6000; // a large cell gets fewer starting points, so as not to take seconds

/**
 * Lays out nodes and edges. `edges` are {source, target, label} with target −1 for the output and an empty label for a
 * connection to it; `size.node` is [along, across] of a node, `size.label(text)` that of a label.
 * Returns {along, across, nodes: [{name, at: [along, across], size}], wires: [{edge, points, label}]}: `points` are the
 * level stretches of a wire, [[from, to, across], …], and `label` is the middle of its label or null.
 */
export function layout(count, edges, size) {
  const { nodes, wires } = graph(count, edges, size);
  const boxes = [...nodes, ...wires.flatMap(({ path }) => path.slice(1, -1))];
  const starts = Math.max(1, Math.min(STARTS, Math.floor(STARTS_BOXES / boxes.length)));
  let best = 0, least = [Infinity, Infinity];
  for (let start = 0; start < starts; start += 1) {
    const cost = costOf(arrange(boxes, start));
    if (cost[0] < least[0] || (cost[0] === least[0] && cost[1] < least[1])) [best, least] = [start, cost];
  }
  const columns = arrange(boxes, best);
  const sides = sidesOf(columns, size);
  const top = Math.min(...boxes.map((box) => box.at - box.across / 2));
  const bottom = Math.max(...boxes.map((box) => box.at + box.across / 2));
  for (const box of boxes) box.at -= top;
  return {
    along: sides.at(-1)[1],
    across: bottom - top,
    nodes: nodes.map((box, index) => {
      const [from, to] = sides[box.column];
      return { name: index === nodes.length - 1 ? "output" : index, at: [(from + to) / 2, box.at], size: [to - from, box.across - GAP] };
    }),
    wires: wires.map((wire) => ({ edge: wire.edge, ...stretches(wire.path, sides) })),
  };
}

function graph(count, edges, size) {
  const depth = [0, 0];
  for (let target = INPUTS; target < count; target += 1) {
    depth.push(1 + Math.max(-1, ...edges.filter((edge) => edge.target === target).map((edge) => depth[edge.source])));
  }
  const nodes = [...depth, 1 + Math.max(...depth)].map((level) => box(2 * level, 0));
  const ends = edges.map((edge) => ({ edge, from: nodes[edge.source], to: nodes[edge.target < 0 ? count : edge.target] }));
  // Short edges first: they have no choice of where to put their label, long ones then fill up where there is room.
  ends.sort((a, b) => a.to.column - a.from.column - (b.to.column - b.from.column));
  const labels = new Map();
  const wires = ends.map(({ edge, from, to }) => {
    const lanes = [];
    for (let column = from.column + 1; column < to.column; column += 1) lanes.push(box(column, BARE_LANE));
    if (edge.label) {
      const places = lanes.filter((_, index) => index % 2 === 0);
      const lane = places.reduce((a, b) => ((labels.get(b.column) ?? 0) < (labels.get(a.column) ?? 0) ? b : a));
      [lane.length, lane.across] = size.label(edge.label);
      lane.labelled = true;
      labels.set(lane.column, (labels.get(lane.column) ?? 0) + 1);
    }
    const path = [from, ...lanes, to];
    for (let i = 1; i < path.length; i += 1) {
      path[i - 1].after.push(path[i]);
      path[i].before.push(path[i - 1]);
    }
    return { edge, path };
  });
  for (const node of nodes) {
    [node.length, node.across] = size.node;
    node.across = GAP + Math.max(node.across, PORT * Math.max(node.before.length, node.after.length));
  }
  return { nodes, wires };
}

const box = (column, across) => ({ column, across, length: 0, labelled: false, at: 0, before: [], after: [] });

/** Sets `at` of every box and orders its neighbours by it; `start` seeds how ties are broken. Returns the columns. */
function arrange(boxes, start) {
  const columns = Array.from({ length: 1 + Math.max(...boxes.map((one) => one.column)) }, () => []);
  for (const one of boxes) {
    one.at = 0;
    columns[one.column].push(one);
  }
  const random = numbers(start);
  for (const column of columns.slice(1)) shuffle(column, random);
  for (let sweep = 0; sweep < 2 * SWEEPS; sweep += 1) { // to and fro: first find an order, then straighten
    const ordering = sweep < SWEEPS, onward = sweep % 2 === 0;
    for (const column of onward ? columns : [...columns].reverse()) {
      for (const one of column) one.at = ordering ? mean((onward ? one.before : one.after).map((other) => other.at), one.at) : level(one);
      if (ordering && column !== columns[0]) column.sort((a, b) => a.at - b.at); // the inputs keep their order
      place(column);
    }
    for (const one of boxes) for (const side of [one.before, one.after]) side.sort((a, b) => a.at - b.at);
  }
  return columns;
}

/** [crossings, sum of rises and falls]. */
function costOf(columns) {
  let crossings = 0, rises = 0;
  for (const column of columns) {
    const pairs = column.flatMap((one) => one.after.map((other) => [one.at, other.at])).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    pairs.forEach(([from, to], index) => {
      rises += Math.abs(from - to);
      for (let i = 0; i < index; i += 1) crossings += pairs[i][1] > to;
    });
  }
  return [crossings, rises];
}

/** Moves boxes apart, as little as their order and sizes allow: least squares, by pooling those that collide. */
function place(column) {
  let offset = 0;
  const offsets = column.map((one, index) => (offset += index ? (column[index - 1].across + one.across) / 2 + GAP : 0));
  const pools = [];
  column.forEach((one, index) => {
    pools.push([one.at - offsets[index], 1]);
    while (pools.length > 1 && pools.at(-2)[0] > pools.at(-1)[0]) {
      const [[a, m], [b, n]] = pools.splice(-2);
      pools.push([(a * m + b * n) / (m + n), m + n]);
    }
  });
  const begins = pools.flatMap(([at, many]) => Array(many).fill(at));
  column.forEach((one, index) => (one.at = begins[index] + offsets[index]));
}

/** Where on the side of a box the connection with its neighbour ends. */
function port(one, other) {
  const side = other.column < one.column ? one.before : one.after;
  return one.at + (side.indexOf(other) - (side.length - 1) / 2) * PORT;
}

/** Where the connections of a box would be level on average; a long edge prefers to bend at its ends. */
function level(one) {
  let sum = 0, weights = 0;
  for (const other of [...one.before, ...one.after]) {
    const weight = one.across === BARE_LANE || other.across === BARE_LANE ? 8 : 1;
    sum += weight * (one.at + port(other, one) - port(one, other));
    weights += weight;
  }
  return weights ? sum / weights : one.at;
}

/** From where to where every column reaches. */
function sidesOf(columns, size) {
  const sides = [];
  let at = 0;
  columns.forEach((column, index) => {
    const length = Math.max(0, ...column.map((one) => one.length));
    sides.push([at, at + length + (index % 2 && length ? 2 * GAP : 0)]);
    const rise = Math.max(0, ...column.flatMap((one) => one.after.map((other) => Math.abs(port(one, other) - port(other, one)))));
    at = sides.at(-1)[1] + Math.min(size.bend[1], Math.max(size.bend[0], rise / 2));
  });
  return sides;
}

function stretches(path, sides) {
  const points = [];
  let label = null;
  path.forEach((one, index) => {
    const [from, to] = sides[one.column];
    if (index === 0) points.push([to, to, port(one, path[1])]);
    else if (index === path.length - 1) points.push([from, from, port(one, path[index - 1])]);
    else if (from !== to) points.push([from, to, one.at]); // a column without labels has nothing to keep clear of
    if (one.labelled) label = [(from + to) / 2, one.at];
  });
  return { points, label };
}

const mean = (values, otherwise) => (values.length ? values.reduce((a, b) => a + b) / values.length : otherwise);

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
function numbers(seed) {
  let state = seed + 0x6d2b79f5;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function shuffle(list, random) {
  for (let i = list.length - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1));
    [list[i], list[j]] = [list[j], list[i]];
  }
}
