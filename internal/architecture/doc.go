// Package architecture holds no code. Its tests keep the law of who may import whom, with a reason a line, and what the
// pages of docs promise of the tree. The house that the law describes is drawn in docs/architecture.md.
package architecture
