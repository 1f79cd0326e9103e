// The heatmap over an image: one map a depth, coloured here so that its opacity can be moved.

// Magma (van der Walt and Smith, CC0), 17 of its 256 colours.
const MAGMA = [
  [0, 0, 4], [10, 8, 34], [29, 17, 71], [54, 16, 107], [81, 18, 124], [106, 28, 129], [131, 38, 129],
  [156, 46, 127], [183, 55, 121], [208, 65, 111], [231, 82, 99], [245, 107, 92], [252, 137, 97],
  [254, 167, 114], [254, 196, 136], [253, 226, 163], [252, 253, 191],
];

function colour(level) {
  const place = level * (MAGMA.length - 1);
  const low = Math.min(Math.floor(place), MAGMA.length - 2);
  return MAGMA[low].map((a, k) => a + (place - low) * (MAGMA[low + 1][k] - a));
}

const COLOURS = Array.from({ length: 256 }, (_, k) => colour(k / 255));

const NAMES = { gradcam: "Grad-CAM" };

// What is weak lets the image through: opacity goes with the root of the level, as in the report.
export async function draw(canvas, map) {
  const image = new Image();
  image.src = map.image_map;
  await image.decode();
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let k = 0; k < pixels.data.length; k += 4) {
    const level = pixels.data[k];
    const [red, green, blue] = COLOURS[level];
    pixels.data.set([red, green, blue, 255 * Math.sqrt(level / 255)], k);
  }
  context.putImageData(pixels, 0, 0);
}

// '' of the one map of a whole model.
export function depthName(map, k, n) {
  if (n < 2 && !map.block) return "";
  return map.block ? `block ${map.block}` : `depth ${k + 1} of ${n}`;
}

export function heatWords(found, map, depth) {
  if (!(map.largest > 0)) return `Nothing here speaks for ${found.target}.`;
  const way = NAMES[found.method] ?? found.method;
  return `Where ${found.target} comes from (${[way, depth].filter(Boolean).join(", ")}), scaled to its own largest value. ` +
    "A heatmap shows where, not why.";
}
