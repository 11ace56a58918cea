// What every page does. Each module looks for its own elements and does nothing where there are none.
import "./manners.js";
import "./keys.js";
import "./live.js";
import "./progress.js";
import "./pictures/tiles.js";
import "./pictures/choose.js";
import "./pictures/viewer.js";
import "./pictures/compare.js";
import "./pictures/strip.js";
import "./pictures/inside.js";
import "./chart.js";
import "./form/submit.js";
import "./form/draft.js";
import "./form/seed.js";
