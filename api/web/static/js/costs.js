// What each edge of a cell costs in the whole network: the formulas of nas/space/cost.py and nas/space/layout.py.

const A_CHANNEL = { batch: 2, batch_fixed: 0, group: 2, none: 1 }; // parameters of a norm, or of the bias in its stead

/** Operation → parts of its formula: [kind, kernel, rounds]. The user's own operations have none. */
const PARTS = {
  none: ["free"], max_pool_3x3: ["free"], avg_pool_3x3: ["free"], skip_connect: ["skip"],
  conv_1x1: ["plain", 1], conv_3x3: ["plain", 3], conv_5x5: ["plain", 5],
  sep_conv_3x3: ["separable", 3, 2], sep_conv_5x5: ["separable", 5, 2], sep_conv_7x7: ["separable", 7, 2],
  dil_conv_3x3: ["separable", 3, 1], dil_conv_5x5: ["separable", 5, 1],
  group_conv_3x3: ["group", 3], group_conv_5x5: ["group", 5], conv_7x1_1x7: ["cross"],
};

/**
 * Returns cost(reduction, op, source) → {params, macs, cells}: over all cells of that kind; macs is null where the
 * image's size is not known. Null for operations without a formula. `image` is [channels, height, width] or null.
 */
export function edgeCosts(shape, image) {
  const found = positions(shape, image);
  return (reduction, op, source) => {
    if (!(op in PARTS)) return null;
    const here = found.filter((one) => one.reduction === reduction);
    const each = here.map(({ channels, size }) => {
      const outside = source < 2; // the two inputs have the size from before the reduction
      const stride = reduction && outside ? 2 : 1;
      return operation(PARTS[op], channels, reduction && !outside ? strided(size, 2) : size, stride, shape);
    });
    return {
      params: each.reduce((sum, one) => sum + one.params, 0),
      macs: image ? each.reduce((sum, one) => sum + one.macs, 0) : null,
      cells: here.length,
    };
  };
}

/** For each cell of the network: whether it is a reduction cell, its channels, the size of its inputs. */
function positions(shape, image) {
  const turns = new Set([Math.floor(shape.cells / 3), Math.floor((2 * shape.cells) / 3)]);
  let kinds = Array.from({ length: shape.cells }, (_, index) => turns.has(index));
  kinds = shape.tail >= 0 ? [...kinds, ...Array(shape.tail).fill(false)] : kinds.slice(0, Math.max(1, shape.cells + shape.tail));
  let channels = shape.channels;
  let size = strided(image ? image.slice(1) : [1, 1], shape.stem === "imagenet" ? 8 : 1);
  return kinds.map((reduction) => {
    channels *= reduction ? 2 : 1;
    const here = { reduction, channels, size };
    if (reduction) size = strided(size, 2);
    return here;
  });
}

function operation([kind, kernel, rounds], channels, size, stride, shape) {
  const out = strided(size, stride);
  const square = channels * channels;
  const norm = { params: A_CHANNEL[shape.norm] * channels, macs: 0 };
  switch (kind) {
    case "plain": return sum(weights(square * kernel ** 2, out), norm);
    case "separable": return times(rounds, sum(weights(channels * kernel ** 2, out), weights(square, out), norm));
    case "group": return sum(weights((square / groups(channels)) * kernel ** 2, out), weights(square, out), norm);
    case "cross": return sum(weights(7 * square, [size[0], out[1]]), weights(7 * square, out), norm);
    case "skip": {
      if (stride === 1 || shape.downsample.endsWith("_pool")) return times(0, norm);
      return sum(weights(square * (shape.downsample === "conv" ? 9 : 1), out), norm);
    }
    default: return times(0, norm);
  }
}

const strided = ([height, width], stride) => [Math.ceil(height / stride), Math.ceil(width / stride)];
const weights = (count, out) => ({ params: count, macs: count * out[0] * out[1] });
const sum = (...parts) => ({ params: parts.reduce((all, one) => all + one.params, 0), macs: parts.reduce((all, one) => all + one.macs, 0) });
const times = (many, one) => ({ params: many * one.params, macs: many * one.macs });
const groups = (channels) => [4, 3, 2, 1].find((number) => channels % number === 0);
