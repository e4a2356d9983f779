package result

// An Outcome is what a threshold, or all of them, say of a run.
type Outcome string

// The outcomes, from good to bad: what could not be told is no pass.
const (
	Passed  Outcome = "passed"
	Unknown Outcome = "could_not_tell" // a figure that is needed was not measured
	Crossed Outcome = "crossed"
)

// Worse returns the worse one of two outcomes.
func (o Outcome) Worse(other Outcome) Outcome {
	rank := map[Outcome]int{Passed: 1, Unknown: 2, Crossed: 3}
	if rank[other] > rank[o] {
		return other
	}
	return o
}

// A Verdict is what the thresholds that a user gave say of a run.
type Verdict struct {
	Outcome Outcome // the worst one of the Checks
	Checks  []Check
}

// A Check is one threshold held against one run.
type Check struct {
	Rule    string // in its plain form, such as "rtt.p99>30ms"
	Outcome Outcome
	Figure  string // the figure with its unit, such as "31.2ms"; empty when it is not known
	Remark  string // why it could not be told; may be empty
}
