// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// version is the release this source is.
const version = "0.2.0"

// root returns the tree of commands.
func root() *command {
	return &command{
		short: "one permanent code for every city, department and object, with answers that prove themselves",
		examples: []string{
			"cityid demo",
			"cityid resolve MA.156.1301",
			"cityid bundle get MA.156.1301.01 -o b.cityid && cityid verify b.cityid --trust trust.json",
			"cityid code import lamps.csv --parent MA.156.1301.02 --dry-run",
		},
		sub: []*command{
			demoCommand(), networkCommand(), zoneCommand(), nodeCommand(), keyCommand(), applicationCommand(), codeCommand(), txCommand(),
			searchCommand(), resolveCommand(), resolverCommand(), reportCommand(), bundleCommand(), verifyCommand(), trustCommand(), labelCommand(), attestCommand(),
			datasetCommand(), agreementCommand(), gatewayCommand(), evidenceCommand(),
			watchCommand(), chainCommand(), auditCommand(), feedCommand(), benchCommand(), versionCommand(), completionCommand(),
		},
	}
}

func versionCommand() *command {
	return &command{
		name: "version", short: "say which version this is",
		setup: func(f *flags) func(context.Context, []string) error {
			return func(_ context.Context, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				v := struct {
					Version string `json:"version"`
					Commit  string `json:"commit,omitempty"`
					Go      string `json:"go"`
				}{version, commit(), runtime.Version()}
				return f.print(fields(v, "cityid", v.Version, "commit", v.Commit, "go", v.Go))
			}
		},
	}
}

func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}

func completionCommand() *command {
	return &command{
		name: "completion", args: "bash|zsh|fish", short: "print a completion script for your shell",
		examples: []string{"source <(cityid completion bash)", "cityid completion fish > ~/.config/fish/completions/cityid.fish"},
		setup: func(f *flags) func(context.Context, []string) error {
			return func(_ context.Context, args []string) error {
				if len(args) != 1 {
					return usagef("want bash, zsh or fish")
				}
				s, err := completion(args[0])
				if err != nil {
					return err
				}
				return f.write([]byte(s))
			}
		},
	}
}

// completion returns a script that completes nouns and verbs.
func completion(shell string) (string, error) {
	top := root()
	var names []string
	for _, c := range top.sub {
		names = append(names, c.name)
	}
	var b strings.Builder
	switch shell {
	case "bash", "zsh":
		if shell == "zsh" {
			b.WriteString("autoload -U +X bashcompinit && bashcompinit\n")
		}
		b.WriteString("_cityid() {\n  local cur=${COMP_WORDS[COMP_CWORD]}\n  case \"$COMP_CWORD:${COMP_WORDS[1]}\" in\n")
		fmt.Fprintf(&b, "    1:*) COMPREPLY=($(compgen -W %q -- \"$cur\")) ;;\n", strings.Join(names, " "))
		for _, c := range top.sub {
			if len(c.sub) > 0 {
				fmt.Fprintf(&b, "    2:%s) COMPREPLY=($(compgen -W %q -- \"$cur\")) ;;\n", c.name, strings.Join(verbs(c), " "))
			}
		}
		b.WriteString("    *) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n  esac\n}\ncomplete -F _cityid cityid\n")
	case "fish":
		for _, c := range top.sub {
			fmt.Fprintf(&b, "complete -c cityid -n __fish_use_subcommand -f -a %s -d %q\n", c.name, c.short)
			for _, s := range c.sub {
				fmt.Fprintf(&b, "complete -c cityid -n '__fish_seen_subcommand_from %s' -f -a %s -d %q\n", c.name, s.name, s.short)
			}
		}
	default:
		return "", usagef("no completion for %q: want bash, zsh or fish", shell)
	}
	return b.String(), nil
}

func verbs(c *command) []string {
	var out []string
	for _, s := range c.sub {
		out = append(out, s.name)
	}
	slices.Sort(out)
	return out
}
