package plot

import _ "embed" // the style sheet

// CSS styles every SVG of this package: a page that holds some has it in its
// style sheet, a File has it inside. The colours are variables (--plot-…) that a
// page may set again; data-theme="light" or "dark" on the root element wins over
// what the system prefers.
//
//go:embed plot.css
var CSS string
