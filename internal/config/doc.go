// Package config turns the process's environment into one valid [Config].
//
// The variables are declared once, in the tags of the struct raw: name,
// default, what is allowed, an example and a description. [Parse] reads them,
// [Reference] lists them, and the table in docs/operation.md is made from the
// same tags. Strings end here: a Config holds addresses, prefixes, levels and
// booleans, so that nothing behind it has to parse or check a setting again.
//
// The package reads neither the environment nor the file system by itself; both
// are handed to [Parse].
package config
