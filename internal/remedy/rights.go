package remedy

// Permission is for a command that the router's user may not do. Group is the
// user's group, or "" if it is not known.
func Permission(group, policy string) Advice {
	who := "the group of the router's user"
	var commands []Command
	if group != "" {
		who = "the group " + group
		commands = append(commands, GrantAll(group))
	}
	return routerAdvice(KindPermission, "add the policy "+policy+" to "+who, commands...)
}

// OwnGroup is for a user that lacks a policy in a group which is not the user's alone:
// what the group got, others would get too. Name is that of the new group.
func OwnGroup(user, group, name, policy string) Advice {
	return routerAdvice(KindPermission, "give the user its own group, with the policy "+policy+": the group "+group+" is not for this user alone",
		NewCommand("/user/group/add", "name", name, "policy", Policies),
		NewCommand("/user/set", "numbers", user, "group", name))
}

// GrantAll gives a group the policies that doublenat needs. RouterOS adds them to
// those that the group has; it takes away only what is written with an exclamation mark.
func GrantAll(group string) Command {
	return NewCommand("/user/group/set", "numbers", group, "policy", Policies)
}

// TooMany is for a user that may do more than doublenat ever does.
func TooMany() Advice {
	return routerAdvice(KindTooMany, "give doublenat its own user with its own password, and set MIKROTIK_API_USER",
		NewCommand("/user/group/add", "name", "doublenat", "policy", Policies),
		NewCommand("/user/add", "name", "doublenat", "group", "doublenat", "password", "CHANGE-ME"))
}

// Policies are what the router's user needs: to log in, to print, to change rules,
// and to ask for the route to the gateway.
const Policies = "read,write,api,test"
