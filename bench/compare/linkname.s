// Empty: its presence lets nebulaParse, which is linked by name, be declared
// without a body.
