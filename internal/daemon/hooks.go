package daemon

import "doublenat/internal/hook"

// makeHooks makes what tells the operator's programs of changes.
func (d *Daemon) makeHooks(opts Options) (err error) {
	d.hooks, err = hook.New(hook.Config{
		URL: d.cfg.OnChangeURL.Reveal(), Exec: d.cfg.OnChangeExec, Dial: d.net.DialHook,
		Instance: d.cfg.Instance, Version: d.version, External: d.gateway.External,
		Random: opts.Random, Logger: d.log.With("component", "hook"),
	})
	return err
}
