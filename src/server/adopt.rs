//! `/Dirvol.Adopt`: a directory that its owner moves in becomes a volume.

use super::clone::LIMIT;
use super::reply::{Failure, Reply};
use super::routes::{Call, SHORT_LIMIT};
use super::verbs::{options, success};
use crate::api::{Adopt, Adopted, Phase};
use crate::volume::{Driver, Error, Fixture, VolumeName};

impl Call<'_> {
    pub(super) async fn adopt(&mut self, request: Adopt) -> Result<Reply, Failure> {
        self.name.clone_from(&request.name);
        let name = VolumeName::new(&request.name)
            .ok_or_else(|| Failure::from(Error::BadName(request.name.clone())))?;
        let driver = &self.app.driver;
        let mut answer = Adopted { name: request.name, ..Adopted::default() };
        let (wanted, token) = (name.clone(), request.token);
        match request.phase {
            Phase::Prepare => {
                let options = options(&name, &request.opts, Fixture::Off)?;
                let prepare = move |driver: &Driver| driver.prepare(&wanted, &options);
                let prepared = self.app.on_disk(SHORT_LIMIT, prepare).await?;
                answer.path = prepared.path.display().to_string();
                answer.state_dir = prepared.state_dir.display().to_string();
                (answer.device, answer.inode) = prepared.identity;
                answer.token = prepared.token;
                self.note = Some("waits for a directory".into());
            }
            Phase::Commit => {
                answer.mountpoint = driver.mountpoint(&name).display().to_string();
                let adopt = move |driver: &Driver| driver.adopt(&wanted, &token, request.inode);
                self.app.on_disk(LIMIT, adopt).await?;
                self.note = Some("a directory that was moved in".into());
            }
            Phase::Cancel => {
                let cancel = move |driver: &Driver| driver.cancel(&wanted, &token);
                answer.holds_data = !self.app.on_disk(SHORT_LIMIT, cancel).await?;
                self.note = Some("waits for no directory any more".into());
            }
        }
        success(&answer)
    }
}
