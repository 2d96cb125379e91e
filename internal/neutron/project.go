package neutron

import "context"

// CheckProject is nil if Keystone has a project of that id, ours or one that our
// user may see. Neutron would take any text for one. Its errors are as those of
// Apply.
func (f *Fabric) CheckProject(ctx context.Context, id string) error {
	a, err := f.api(ctx)
	if err != nil || a.Identity == nil || id == a.Project {
		return err // without Keystone's address Neutron is the one to refuse
	}
	return a.CheckProject(ctx, id)
}

// Project is the id of our own project; empty before we have signed in.
func (f *Fabric) Project() string {
	if a := f.session.Load(); a != nil {
		return a.Project
	}
	return ""
}
