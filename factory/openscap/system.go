package openscap

import "github.com/imagefactory/imagefactory/factory"

// system is what differs between package formats: what must be corrected so that oscap measures, how an entry of the package
// database is called, and the canaries by view.
//
// There is a canary for each way in which the tool passes what it did not look at: the walk of the whole filesystem (device
// pattern, partition probe), the walk of local filesystems (mtab), the environment (procfs), the view itself, and of RPM
// the package database (one package that is there and one that is not) and files behind absolute links.
type system struct {
	format      factory.Format
	corrections []string // names that prove.py knows
	entry       string
	canaries    map[factory.View]canary
}

var debSystem = system{
	format: factory.Deb, corrections: []string{"proc", "mtab", "device"}, entry: "a stanza",
	canaries: map[factory.View]canary{
		factory.ContainerView: {
			plants: []string{"world-writable", "open-log", "root-path", "second-root"},
			expect: map[string]factory.RuleResult{
				"file_permissions_unauthorized_world_writable": factory.RuleFail,
				"file_permissions_var_log_gdm":                 factory.RuleFail,
				"accounts_root_path_dirs_no_write":             factory.RuleFail,
				"accounts_no_uid_except_zero":                  factory.RuleNotApplicable, // else it is no container that is seen
			},
		},
		factory.ExtendedView: {
			plants: []string{"world-writable", "open-log", "root-path", "second-root", "unowned"},
			expect: map[string]factory.RuleResult{
				"file_permissions_unauthorized_world_writable": factory.RuleFail,
				"file_permissions_var_log_gdm":                 factory.RuleFail,
				"accounts_root_path_dirs_no_write":             factory.RuleFail,
				"accounts_no_uid_except_zero":                  factory.RuleFail,
				"no_files_unowned_by_user":                     factory.RuleFail,
			},
		},
	},
}

var rpmSystem = system{
	format: factory.RPM, corrections: []string{"proc", "mtab", "device", "links", "conflicts"}, entry: "an entry",
	canaries: map[factory.View]canary{
		// No rule that applies to a container walks local filesystems in this content.
		factory.ContainerView: {
			plants: []string{"world-writable", "linked", "root-path", "second-root", "package"},
			expect: map[string]factory.RuleResult{
				"file_permissions_unauthorized_world_writable": factory.RuleFail,
				"accounts_umask_etc_profile":                   factory.RuleFail,
				"accounts_root_path_dirs_no_write":             factory.RuleFail,
				"accounts_no_uid_except_zero":                  factory.RuleNotApplicable,
				"package_telnet-server_removed":                factory.RuleFail,
				"package_telnet_removed":                       factory.RulePass,
			},
		},
		factory.ExtendedView: {
			plants: []string{"world-writable", "linked", "root-path", "second-root", "package", "unowned", "foreign-file"},
			expect: map[string]factory.RuleResult{
				"file_permissions_unauthorized_world_writable": factory.RuleFail,
				"accounts_umask_etc_profile":                   factory.RuleFail,
				"accounts_root_path_dirs_no_write":             factory.RuleFail,
				"accounts_no_uid_except_zero":                  factory.RuleFail,
				"accounts_user_dot_user_ownership":             factory.RuleFail,
				"no_files_unowned_by_user":                     factory.RuleFail,
				"package_telnet-server_removed":                factory.RuleFail,
				"package_telnet_removed":                       factory.RulePass,
			},
		},
	},
}
