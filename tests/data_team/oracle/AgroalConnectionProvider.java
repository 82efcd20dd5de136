package org.hibernate.agroal.internal;

import org.hibernate.engine.jdbc.connections.internal.DriverManagerConnectionProvider;

/** In place of the pool of Hibernate's own that Debezium's sink names by default, and that registries lack: plain connections. */
public class AgroalConnectionProvider extends DriverManagerConnectionProvider {}
