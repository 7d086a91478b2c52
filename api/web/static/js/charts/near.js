// Which line somebody points at: the one that passes closest, wherever its own points are.

/**
 * The place, in `lines`, of the polyline that passes within `reach` pixels of (x, y) and closest to it, or -1. A line is
 * [[x, y]] in pixels, ascending in x; `stepped` lines keep their height until the next point.
 */
export function closest(lines, x, y, reach, stepped = false) {
  let found = -1,
    least = reach;
  lines.forEach((points, at) => {
    const distance = away(points, x, y, stepped);
    if (distance <= least) [found, least] = [at, distance]; // of equals the one that lies above
  });
  return found;
}

function away(points, x, y, stepped) {
  const next = d3.bisector((point) => point[0]).left(points, x);
  const [one, two] = [points[next - 1], points[next]];
  if (!one || !two) return Math.hypot(x - (one ?? two)[0], y - (one ?? two)[1]);
  if (stepped)
    return Math.min(
      Math.abs(y - one[1]),
      y > Math.min(one[1], two[1]) && y < Math.max(one[1], two[1]) ? two[0] - x : Infinity,
    );
  const slope = (two[1] - one[1]) / (two[0] - one[0]);
  return Math.abs(y - one[1] - slope * (x - one[0])) / Math.hypot(1, slope);
}
