// Travel over the plane of seeds where answers are slow. Once it has begun, pictures around the view are drawn ahead and
// kept: a step then shows at once what lies there, mixed from the nearest seeds, and the exact pictures follow.

const SEEDS_IN_ROW = 4; // of the plane
const SLOW_ANSWER = 80; // ms for all pictures of the view, from which on it is worth it
const MAX_AHEAD = 16; // pictures in a request
const AHEAD_TIME = 100; // ms of this machine for one, after which it draws what is asked for
const MAX_KEPT = 128; // pictures
const MIX_QUALITY = 0.92; // of a JPEG

// Draw images, which are [image, weight], over each other so that each counts with its weight.
function drawMixed(context, images) {
  let sum = 0;
  for (const [image, weight] of images) {
    sum += weight;
    context.globalAlpha = weight / sum; // of what is there already, the rest remains
    context.drawImage(image, 0, 0, context.canvas.width, context.canvas.height);
  }
  context.globalAlpha = 1;
}

// The seeds between which an offset lies, with their weights.
const nearestSeeds = (seed, [across, down]) =>
  [
    [seed, (1 - across) * (1 - down)],
    [seed + 1, across * (1 - down)],
    [seed + SEEDS_IN_ROW, (1 - across) * down],
    [seed + SEEDS_IN_ROW + 1, across * down],
  ].filter(([, weight]) => weight);

// `draw(request)` draws a request of Draw, {seeds, at, model, …}; seeds end at `maxSeed`.
function createPrefetcher(draw, maxSeed) {
  const kept = new Map(); // images by seed
  let keptOf = ""; // all else of their requests
  let last = null; // {request, pictures} on the page
  let wanted = null; // the newest {request, firstSeed} of which the surroundings are wanted
  let isAsking = false;
  const mixed = make("canvas").getContext("2d");

  const withoutSeeds = ({ seeds: _, at: __, full_size: ___, draft_size: ____, ...rest }) => JSON.stringify(rest);
  const isHere = ({ model }, count) => local.isPreferred(model, count);
  const answerTime = (request, count) =>
    isHere(request, count) ? local.drawTime(request.model, count) : connection.answerTime(count);
  const isSlow = (request) => answerTime(request, request.seeds.length) > SLOW_ANSWER;

  function keep(seeds, images) {
    seeds.forEach((seed, i) => kept.set(seed, images[i]));
    for (const seed of [...kept.keys()].slice(0, -MAX_KEPT)) kept.delete(seed);
  }

  // What is there at an offset from a seed, or nothing if it is not known.
  function mix(seed, offset) {
    const images = nearestSeeds(seed, offset).map(([each, weight]) => [kept.get(each), weight]);
    if (images.some(([image]) => !image)) return null;
    if (images.length === 1) return images[0][0].src;
    mixed.canvas.width = mixed.canvas.height = images[0][0].naturalWidth;
    drawMixed(mixed, images);
    return mixed.canvas.toDataURL("image/jpeg", MIX_QUALITY);
  }

  // The pictures of a request except those of `isFixed` places, if all are known and an answer would be slow; else null.
  function preview(request, isFixed) {
    if (withoutSeeds(request) !== keptOf || !isSlow(request)) return null;
    const pictures = new Array(request.seeds.length);
    for (const [i, seed] of request.seeds.entries()) {
      if (isFixed(i)) continue;
      pictures[i] = mix(seed, request.at?.[i] ?? [0, 0]);
      if (!pictures[i]) return null;
    }
    return pictures;
  }

  // The seeds one step around the view, those in its middle first.
  function seedsAround(firstSeed, count) {
    const [middle, step] = [firstSeed + count / 2, SEEDS_IN_ROW + 1];
    const seeds = Array.from({ length: count + 3 * step }, (_, i) => firstSeed - step + i);
    const distance = (seed) => Math.abs(seed - middle);
    return seeds.filter((seed) => seed >= 0 && seed <= maxSeed).sort((a, b) => distance(a) - distance(b));
  }

  async function load(pictures) {
    const images = pictures.map((src) => Object.assign(new Image(), { src }));
    await Promise.all(images.map((image) => image.decode()));
    return images;
  }

  // Draw what is missing around the view, a request at a time. Who saves data has only what this machine draws.
  async function prefetch(request, firstSeed) {
    wanted = { request, firstSeed };
    if (isAsking) return;
    isAsking = true;
    try {
      while (await askForMissing()) {
        // there is more
      }
    } finally {
      isAsking = false;
    }
  }

  async function askForMissing() {
    const { request, firstSeed } = wanted;
    const key = withoutSeeds(request);
    if (!isSlow(request) || (savesData() && !isHere(request, MAX_AHEAD))) return false;
    if (key !== keptOf) {
      keptOf = key;
      kept.clear();
      if (last && !last.request.at && withoutSeeds(last.request) === key) keep(last.request.seeds, await load(last.pictures));
    }
    const count = isHere(request, MAX_AHEAD) ? clamp(AHEAD_TIME / local.drawTime(request.model, 1), 1, MAX_AHEAD) : MAX_AHEAD;
    const missing = seedsAround(firstSeed, request.seeds.length).filter((seed) => !kept.has(seed)).slice(0, count);
    if (!missing.length) return false;
    const drafts = { full_size: 0, draft_size: connection.draftSize() };
    const reply = await draw({ ...request, ...drafts, seeds: missing, at: undefined });
    if (!reply?.pictures) return false;
    const images = await load(reply.pictures);
    if (key === keptOf) keep(missing, images);
    return true;
  }

  return {
    preview,
    prefetch,
    noteShown: (request, pictures) => (last = { request, pictures }),
  };
}
