package config

import "reflect"

// Variable describes one environment variable.
type Variable struct {
	// Name is the variable's name.
	Name string
	// Default is what an absent or empty variable means. Empty where there is no default.
	Default string
	// Required is set where there is no doing without the variable.
	Required bool
	// Secret is set where the value must never be shown.
	Secret bool
	// Conceals says which part of the value must not be shown; empty for none.
	Conceals Concealment
	// Allowed says which values are accepted, as a phrase.
	Allowed string
	// Example is an accepted value other than the default.
	Example string
	// Help says what the variable is for, in whole sentences.
	Help string
}

// Reference returns all variables in the order in which a reader wants them.
// The slice belongs to the caller.
func Reference() []Variable {
	fields := reflect.VisibleFields(reflect.TypeFor[raw]())
	vars := make([]Variable, len(fields))
	for i, f := range fields {
		vars[i] = Variable{
			Name:     f.Tag.Get("env"),
			Default:  f.Tag.Get("envDefault"),
			Required: f.Tag.Get("required") == "true",
			Secret:   f.Tag.Get("secret") == "true",
			Conceals: Concealment(f.Tag.Get("conceals")),
			Allowed:  f.Tag.Get("allowed"),
			Example:  f.Tag.Get("example"),
			Help:     f.Tag.Get("help"),
		}
	}
	return vars
}
