package control

import "fmt"

// sameUser refuses a peer of another user, root too: a daemon serves the one who runs it.
func sameUser(peer, self int) error {
	if peer == self {
		return nil
	}
	return fmt.Errorf("the other end of the socket is of user %d and this process of user %d; each user has a daemon of their own", peer, self)
}
