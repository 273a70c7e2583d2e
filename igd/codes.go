package igd

import "fmt"

// Code is the error code of a failed action (UDA 1.1 §3.2.2, WANIPConnection:1 §2.4,
// WANIPConnection:2 §2.5).
type Code uint16

// The codes that mean something to who maps ports.
const (
	CodeInvalidAction        Code = 401
	CodeInvalidArgs          Code = 402
	CodeInvalidVar           Code = 404
	CodeActionFailed         Code = 501
	CodeArgumentInvalid      Code = 600
	CodeOutOfRange           Code = 601
	CodeNotImplemented       Code = 602
	CodeOutOfMemory          Code = 603
	CodeNotAuthorized        Code = 606
	CodeInactiveRequired     Code = 703 // InactiveConnectionStateRequired
	CodeInvalidIndex         Code = 713 // SpecifiedArrayIndexInvalid
	CodeNoSuchEntry          Code = 714 // NoSuchEntryInArray
	CodeWildcardSource       Code = 715 // WildCardNotPermittedInSrcIP
	CodeWildcardExternalPort Code = 716 // WildCardNotPermittedInExtPort
	CodeConflict             Code = 718 // ConflictInMappingEntry
	CodeSamePortRequired     Code = 724 // SamePortValuesRequired
	CodeOnlyPermanent        Code = 725 // OnlyPermanentLeasesSupported
	CodeOnlyWildcardHost     Code = 726 // RemoteHostOnlySupportsWildcard
	CodeOnlyWildcardPort     Code = 727 // ExternalPortOnlySupportsWildcard
	CodeNoPortsLeft          Code = 728 // NoPortMapsAvailable
	CodeOtherMechanism       Code = 729 // ConflictWithOtherMechanisms
	CodePortNotFound         Code = 730 // PortMappingNotFound
	CodeReadOnly             Code = 731
	CodeWildcardInternalPort Code = 732 // WildCardNotPermittedInIntPort
	CodeInconsistent         Code = 733 // InconsistentParameters
)

// String returns the name that the standards give the code, or its number.
func (c Code) String() string {
	if name := codeNames[c]; name != "" {
		return name
	}
	return fmt.Sprintf("code %d", uint16(c))
}

//nolint:gochecknoglobals // a table that nobody changes
var codeNames = map[Code]string{
	CodeInvalidAction:        "InvalidAction",
	CodeInvalidArgs:          "InvalidArgs",
	CodeInvalidVar:           "InvalidVar",
	CodeActionFailed:         "ActionFailed",
	CodeArgumentInvalid:      "ArgumentValueInvalid",
	CodeOutOfRange:           "ArgumentValueOutOfRange",
	CodeNotImplemented:       "OptionalActionNotImplemented",
	CodeOutOfMemory:          "OutOfMemory",
	CodeNotAuthorized:        "ActionNotAuthorized",
	CodeInactiveRequired:     "InactiveConnectionStateRequired",
	CodeInvalidIndex:         "SpecifiedArrayIndexInvalid",
	CodeNoSuchEntry:          "NoSuchEntryInArray",
	CodeWildcardSource:       "WildCardNotPermittedInSrcIP",
	CodeWildcardExternalPort: "WildCardNotPermittedInExtPort",
	CodeConflict:             "ConflictInMappingEntry",
	CodeSamePortRequired:     "SamePortValuesRequired",
	CodeOnlyPermanent:        "OnlyPermanentLeasesSupported",
	CodeOnlyWildcardHost:     "RemoteHostOnlySupportsWildcard",
	CodeOnlyWildcardPort:     "ExternalPortOnlySupportsWildcard",
	CodeNoPortsLeft:          "NoPortMapsAvailable",
	CodeOtherMechanism:       "ConflictWithOtherMechanisms",
	CodePortNotFound:         "PortMappingNotFound",
	CodeReadOnly:             "ReadOnly",
	CodeWildcardInternalPort: "WildCardNotPermittedInIntPort",
	CodeInconsistent:         "InconsistentParameters",
}
