// Package remedy is the one place that knows what an operator can do about a
// failure: which hop is broken, how to say it, and what to type. The log, the doctor
// and the status page all use it, so that they never disagree.
//
// It knows errors and answers of both protocols and no state. It changes nothing.
package remedy
