package routerostest

import (
	"fmt"

	"doublenat/routeros"
)

// trap is one !trap sentence.
type trap struct {
	message string
	// category is the number that goes with it, noCategory for none.
	category string
}

// The categories of traps that are used here, as the API manual numbers them.
const (
	noCategory          = ""
	categoryMissing     = "0"
	categoryArgument    = "1"
	categoryInterrupted = "2"
)

// traps are the reasons for which a command was refused; nil is success.
type traps []trap

// refuse makes traps with one in it.
func refuse(category, format string, args ...any) traps {
	return traps{{message: fmt.Sprintf(format, args...), category: category}}
}

// sentence returns the !trap as it is sent, without a tag.
func (t trap) sentence() routeros.Sentence {
	s := routeros.Sentence{"!trap"}
	if t.category != noCategory {
		s = append(s, "=category="+t.category)
	}
	return append(s, "=message="+t.message)
}

// The refusals that depend on nothing but their argument.

func refusePermission() traps { return refuse(noCategory, "not enough permissions (9)") }

func refuseMissing(names string) traps {
	return refuse(noCategory, "missing value(s) of argument(s) %s", names)
}

func refuseChoice(argument string) traps {
	return refuse(categoryArgument, "input does not match any value of %s", argument)
}

func refuseValue(argument string) traps {
	return refuse(categoryArgument, "invalid value for argument %s", argument)
}

func refuseInteger(argument string) traps {
	return refuse(categoryArgument, "invalid value for %s, an integer required", argument)
}

// refuseParameter, refuseItem and refuseCommand differ between versions.

func (b behavior) refuseParameter(name string) traps {
	if b.namesParameter {
		return refuse(noCategory, "unknown parameter %s", name)
	}
	return refuse(noCategory, "unknown parameter")
}

func (b behavior) refuseItem() traps {
	if b.numbersErrors {
		return refuse(categoryMissing, "no such item (4)")
	}
	return refuse(categoryMissing, "no such item")
}

func (b behavior) refuseCommand(name string) traps {
	if b.twoTraps {
		return traps{
			{message: fmt.Sprintf("no such command or directory (%s)", name), category: categoryMissing},
			{message: "no such command prefix", category: categoryMissing},
		}
	}
	return refuse(categoryMissing, "no such command")
}

func (b behavior) refusePorts() traps {
	const text = "ports can be specified if proto is tcp,udp,udp-lite,dccp,sctp"
	if b.failurePrefix {
		return refuse(noCategory, "failure: %s", text)
	}
	return refuse(noCategory, text)
}
