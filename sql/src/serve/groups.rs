//! `sys.groups`: how far consumer groups are, a row a partition; jobs and connectors that read topics are among them.

use log_api::{AdminError, OffsetSpec};

use super::server::Inner;
use super::system::{Cell, Row, text};
use crate::diagnostic::{Code, Diagnostic};

impl Inner {
    /// The rows of `sys.groups`. A group that has committed nothing has one, without a partition; a partition that is
    /// gone or offline has no end.
    pub(super) async fn sys_groups(&self) -> Result<Vec<Row>, Diagnostic> {
        let failed = |error: AdminError| Diagnostic::new(Code::Log, error.to_string());
        let admin = self.log.admin();
        let mut rows = Vec::new();
        for group in admin.groups().await.map_err(failed)? {
            let of_group = [text(&group.name), text(&group.state)];
            if group.offsets.is_empty() {
                let mut row = Vec::from(of_group.clone());
                row.resize(7, Cell::Null);
                rows.push(row);
            }
            for (partition, committed) in group.offsets {
                let end = admin.offset(&partition, OffsetSpec::Latest).await.ok();
                let lag = end.map(|end| (end - committed).max(0));
                let mut row = Vec::from(of_group.clone());
                row.extend([
                    text(partition.topic.to_string()),
                    Cell::Int(partition.partition.into()),
                    Cell::Int(committed),
                    end.map_or(Cell::Null, Cell::Int),
                    lag.map_or(Cell::Null, Cell::Int),
                ]);
                rows.push(row);
            }
        }
        Ok(rows)
    }
}
