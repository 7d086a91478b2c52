// Operations of cells and kinds of layers: their short names, what they do; their colours are in css/cells.css.

/** Operation → short name, for labels where there is little room. */
const SHORT = {
  none: "none", skip_connect: "skip", max_pool_3x3: "max 3×3", avg_pool_3x3: "avg 3×3",
  sep_conv_3x3: "sep 3×3", sep_conv_5x5: "sep 5×5", sep_conv_7x7: "sep 7×7", dil_conv_3x3: "dil 3×3", dil_conv_5x5: "dil 5×5",
  conv_1x1: "conv 1×1", conv_3x3: "conv 3×3", conv_5x5: "conv 5×5", conv_7x1_1x7: "7×1 1×7",
  group_conv_3x3: "grp 3×3", group_conv_5x5: "grp 5×5",
};

/** Operation → what it does, as GET /v1/operations says it. */
const SUMMARIES = {
  none: "no connection: the edge gives zeros",
  max_pool_3x3: "3×3 max pooling",
  avg_pool_3x3: "3×3 average pooling",
  skip_connect: "identity; where the map is halved a downsampling",
  sep_conv_3x3: "separable convolution, two rounds, 3×3",
  sep_conv_5x5: "separable convolution, two rounds, 5×5",
  sep_conv_7x7: "separable convolution, two rounds, 7×7",
  dil_conv_3x3: "dilated separable convolution, 3×3, sees 5×5",
  dil_conv_5x5: "dilated separable convolution, 5×5, sees 9×9",
  conv_1x1: "1×1 convolution",
  conv_3x3: "3×3 convolution",
  conv_5x5: "5×5 convolution",
  conv_7x1_1x7: "a 1×7, then a 7×1 convolution",
  group_conv_3x3: "grouped 3×3 convolution, then 1×1",
  group_conv_5x5: "grouped 5×5 convolution, then 1×1",
};

/** Kind of layer → what it is. */
export const LAYERS = {
  conv: "convolution", separable: "separable convolution", dilated: "convolution with dilation 2",
  grouped: "grouped convolution, then 1×1", conv_down: "convolution with stride 2", max_pool: "1×1 convolution, max pooling with stride 2",
  avg_pool: "1×1 convolution, average pooling with stride 2",
};

/** Operations in the order of legends; a user's own come after them. */
export const ORDER = Object.keys(SHORT);

export const shortName = (op) => SHORT[op] ?? (op.length > 10 ? `${op.slice(0, 9)}…` : op);
export const summary = (op) => SUMMARIES[op] ?? "an operation of your own";
/** The value of data-op, which gives an element its colour. */
export const paint = (op) => (op in SHORT || op in LAYERS ? op : "own");
