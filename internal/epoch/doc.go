// Package epoch watches the clock that gateways send with each reply of NAT-PMP and PCP:
// it starts again when a gateway lost its mappings.
package epoch
