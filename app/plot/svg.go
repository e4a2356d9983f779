package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// A picture is an SVG that is being written.
type picture struct{ bytes.Buffer }

// escaped is s as text or as an attribute; what XML cannot hold becomes U+FFFD.
func escaped(s string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(s)); err != nil { // a Builder takes everything
		return ""
	}
	return b.String()
}

// px is a coordinate with one decimal at most.
func px(v float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}

// open begins a picture of a size, alone in a file or inside of a page.
func (p *picture) open(title string, width, height int, file bool) {
	if file {
		p.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	}
	fmt.Fprintf(p, `<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		width, height, width, height, escaped(title))
	if file {
		p.WriteString("<style>\n" + CSS + "</style>\n")
	}
}

func (p *picture) close() []byte {
	p.WriteString("</svg>\n")
	return p.Bytes()
}

func (p *picture) text(class string, x, y float64, s string) {
	fmt.Fprintf(p, `<text class="%s" x="%s" y="%s">%s</text>`+"\n", class, px(x), px(y), escaped(s))
}

func (p *picture) rect(class string, x, y, w, h float64, title string) {
	fmt.Fprintf(p, `<rect class="%s" x="%s" y="%s" width="%s" height="%s"`, class, px(x), px(y), px(max(0, w)), px(max(0, h)))
	if title == "" {
		p.WriteString("/>\n")
		return
	}
	fmt.Fprintf(p, "><title>%s</title></rect>\n", escaped(title))
}

func (p *picture) path(class, d string) {
	if d != "" {
		fmt.Fprintf(p, `<path class="%s" d="%s"/>`+"\n", class, d)
	}
}
