// What every page does. Each module looks for its own elements and does nothing where there are none.
import "./manners.js";
import "./live.js";
import "./tiles.js";
import "./strip.js";
import "./inside.js";
import "./chart.js";
import "./submit.js";
