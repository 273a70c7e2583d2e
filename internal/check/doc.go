// Package check is the doctor: it looks at the router and the VPN gateway as the
// daemon would, says of each thing whether it is as it has to be, and what to type
// where it is not.
//
// Every thing that is looked at is a probe, one file each. A probe reads and
// changes nothing, but for the last one, which makes a mapping and only runs when
// it is asked for. What the probes learn they keep in the visit, so that no table
// is read twice.
package check
