package urlsession

import (
	"errors"
	"path/filepath"
	"sync"

	"github.com/urlsession/urlsession/internal/control"
	"github.com/urlsession/urlsession/internal/credential"
	"github.com/urlsession/urlsession/internal/seal"
)

// daemonCredentials stands in the configuration of a background session for the storage that the daemon keeps for it.
var daemonCredentials = new(CredentialStorage)

// applicationCredentials are those of this process, by the path of their file, or "" and the name where there is no folder
// for it.
var applicationCredentials struct {
	sync.Mutex
	all map[[2]string]*CredentialStorage
}

// ApplicationCredentialStorage is the storage of an application's default sessions: see Configuration.Application, which is also
// what a name can be. There is one in the process. It does no I/O: the file is looked at when it is first asked.
func ApplicationCredentialStorage(application string) (*CredentialStorage, error) {
	if why := checkApplication(application); why != "" {
		return nil, &Error{Op: "open credential file", Code: ErrUnknown, Err: errors.New("the application's name " + why)}
	}
	return credentialsOf(application), nil
}

func credentialsOf(application string) *CredentialStorage {
	if application == "" {
		application = programName()
	}
	folder, err := dataFolder()
	place := [2]string{"", application}
	if err == nil {
		place = [2]string{filepath.Join(folder, application, "credentials")}
	}
	applicationCredentials.Lock()
	defer applicationCredentials.Unlock()
	s := applicationCredentials.all[place]
	if s != nil {
		return s
	}
	s = &CredentialStorage{homeless: err}
	if err != nil {
		s.storage = credential.New()
	} else {
		s.storage = credential.Later(place[0], credential.Options{Holders: credentialKey(place[0], application), Warn: warnDamaged})
	}
	if applicationCredentials.all == nil {
		applicationCredentials.all = make(map[[2]string]*CredentialStorage)
	}
	applicationCredentials.all[place] = s
	return s
}

// credentialKey is where the key of a file lies: in the user's keyring, by the owner's name, else beside it.
func credentialKey(path, owner string) []seal.Holder {
	return []seal.Holder{
		seal.InKeyring(seal.SystemKeyring(), "urlsession", "credentials of "+owner),
		seal.InFile(path + ".key"),
	}
}

// sessionCredentials is the storage of a background session, over the daemon's file.
func sessionCredentials(state, identifier string) *CredentialStorage {
	file, key := control.SessionCredentials(state, identifier)
	return &CredentialStorage{storage: credential.Later(file, credential.Options{Holders: []seal.Holder{seal.InFile(key)}, Warn: warnDamaged})}
}
