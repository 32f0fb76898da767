package daemon

// Until the engine has them.

func (s *session) Alive() int {
	if e, ok := any(s.Engine).(interface{ Alive() int }); ok {
		return e.Alive()
	}
	return 0
}
func (s *session) Owned() bool {
	if e, ok := any(s.Engine).(interface{ Owned() bool }); ok {
		return e.Owned()
	}
	return false
}
