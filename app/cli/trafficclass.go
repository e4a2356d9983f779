package cli

import (
	"strconv"
	"strings"
)

// codePoints are the names of differentiated services (RFC 2474, 2597, 3246,
// 5865, 8622).
var codePoints = map[string]int{
	"cs0": 0, "cs1": 8, "cs2": 16, "cs3": 24, "cs4": 32, "cs5": 40, "cs6": 48, "cs7": 56,
	"af11": 10, "af12": 12, "af13": 14, "af21": 18, "af22": 20, "af23": 22,
	"af31": 26, "af32": 28, "af33": 30, "af41": 34, "af42": 36, "af43": 38,
	"ef": 46, "va": 44, "le": 1,
}

// trafficClass is the TOS or traffic class field that --tos or --dscp ask for.
func trafficClass(tos, dscp string) (int, error) {
	switch {
	case tos != "" && dscp != "":
		return 0, misuse("", "--tos and --dscp exclude each other; choose one")
	case tos != "":
		n, err := strconv.ParseUint(tos, 0, 8)
		if err != nil {
			return 0, misuse("", "%s: want 0 to 255, also as 0x34 or 064", flagValue("tos", tos))
		}
		return int(n), nil
	case dscp != "":
		if n, ok := codePoints[strings.ToLower(dscp)]; ok {
			return n << 2, nil
		}
		n, err := strconv.ParseUint(dscp, 0, 6)
		if err != nil {
			return 0, misuse("", "%s: want 0 to 63, or a name such as ef or af41", flagValue("dscp", dscp))
		}
		return int(n) << 2, nil
	}
	return 0, nil
}
