package result

import "fmt"

// Direction is the set of ways test traffic flows, always as the client sees it.
type Direction uint8

// The directions.
const (
	Down Direction = 1 << iota // server to client
	Up                         // client to server
	Both = Down | Up
)

// Has reports whether d includes all of way.
func (d Direction) Has(way Direction) bool { return d&way == way }

// Each returns the single directions in d, Down first.
func (d Direction) Each() []Direction {
	var each []Direction
	for _, one := range []Direction{Down, Up} {
		if d.Has(one) {
			each = append(each, one)
		}
	}
	return each
}

// String returns "download", "upload" or "both".
func (d Direction) String() string {
	switch d {
	case Down:
		return "download"
	case Up:
		return "upload"
	case Both:
		return "both"
	}
	return fmt.Sprintf("direction(%d)", uint8(d))
}
