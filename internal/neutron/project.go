package neutron

import "context"

// CheckProject returns nil if Keystone has a project of that id that our user may see. Neutron
// itself accepts any text as a project's id. CheckProject returns the same errors as Apply.
func (f *Fabric) CheckProject(ctx context.Context, id string) error {
	a, err := f.api(ctx)
	if err != nil || a.Identity == nil || id == a.Project {
		return err // if Keystone's address is unknown, only Neutron can refuse
	}
	return a.CheckProject(ctx, id)
}

// Project returns the id of our own project, empty before the Fabric has signed in.
func (f *Fabric) Project() string {
	if a := f.session.Load(); a != nil {
		return a.Project
	}
	return ""
}
